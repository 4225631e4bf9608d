"""Weights in files: checkpoints of ``ofa`` with any of its key names, and safetensors."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy_nas.core.errors import WeightsError
from deploy_nas.core.reader import open_regular, read_regular
from deploy_nas.core.space import Space
from deploy_nas.records.files import write_atomic
from deploy_nas.records.zips import holds_bomb

if TYPE_CHECKING:
    import torch

_COUNTER = "num_batches_tracked"
_MAX_BYTES = 4 * 1024**3

# Published checkpoints and the package's own modules have different names for the same tensor (the
# ``load_state_dict`` of ofa's supernets renames them); these replacements make all names canonical.
_RENAMED = (
    (".mobile_inverted_conv.", ".conv."),
    (".bn.bn.", ".bn."),
    (".conv.conv.weight", ".conv.weight"),
    (".linear.linear.", ".linear."),
)


def load_weights(net: torch.nn.Module, space: Space, source: str | Path) -> str:
    """Copy a checkpoint into the supernet; every key and shape is checked before anything is copied.

    Args:
        net: as :func:`build_supernet` gives it.
        space: for messages.
        source: a ``.safetensors`` file, or a torch file holding a state dict or
            ``{"state_dict": ...}`` (read with ``weights_only``), with the key names of the published
            checkpoints or of the modules. float16 becomes float32. ``num_batches_tracked`` is not needed.
            A net may have ``translated(state)``, which gives another module's tensors its own names.

    Returns:
        sha256 of the bytes that were loaded.

    Raises:
        WeightsError: unreadable, unsafe or truncated file, or the first key that does not fit.
    """
    import torch

    path = Path(source)
    data = _read(path)
    given = _state_dict(data, path)
    if (translated := getattr(net, "translated", None)) is not None:
        given = translated(given)
    own = {canonical_key(k): (k, v) for k, v in net.state_dict().items() if not k.endswith(_COUNTER)}
    found: dict[str, torch.Tensor] = {}
    for key, value in given.items():
        if key.endswith(_COUNTER):
            continue
        if (canonical := canonical_key(key)) in found:
            raise _misfit(path, space, f"{key!r} occurs twice, under two names")
        found[canonical] = value
    for canonical, (name, tensor) in own.items():
        if canonical not in found:
            raise _misfit(path, space, f"{name!r} is missing")
        value = found[canonical]
        if value.shape != tensor.shape:
            raise _misfit(
                path, space, f"{name!r} has shape {tuple(value.shape)}, it needs {tuple(tensor.shape)}"
            )
        if not value.is_floating_point() or value.layout != torch.strided or value.device.type != "cpu":
            raise _misfit(path, space, f"{name!r} is not a plain tensor of floating-point numbers")
        if not torch.isfinite(value).all():
            raise WeightsError(f"{name!r} contains infinities or NaNs", subject=str(path))
    for key in given:
        if not key.endswith(_COUNTER) and canonical_key(key) not in own:
            raise _misfit(path, space, f"{key!r} is not in that net")
    with torch.no_grad():
        for canonical, (_, tensor) in own.items():
            tensor.copy_(found[canonical])
    return hashlib.sha256(data).hexdigest()


def save_weights(
    net: torch.nn.Module,
    path: Path,
    *,
    half: bool = False,
    force: bool = False,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write the supernet's weights as safetensors under the modules' names; same weights, same bytes.

    ``notes`` are texts that the file carries (:func:`weights_notes`).

    ``half`` stores matrices and filters as float16. Vectors (the batch norms) stay float32, since a variance
    may be too large or too small for float16.

    Raises:
        OutputError: the file cannot be written.
        WeightsError: a weight is not finite in the type it is stored in.
    """
    import safetensors.torch
    import torch

    tensors: dict[str, torch.Tensor] = {}
    for name, value in net.state_dict().items():
        if name.endswith(_COUNTER):
            continue
        kind = torch.float16 if half and value.ndim > 1 else torch.float32
        stored = value.detach().cpu().to(kind).contiguous()
        if not torch.isfinite(stored).all():
            raise WeightsError(f"{name!r} is not finite as {kind}", subject=str(path))
        tensors[name] = stored
    write_atomic(path, safetensors.torch.save(tensors, dict(notes) if notes else None), force=force)


def weights_notes(path: Path) -> dict[str, str]:
    """The texts that a file of :func:`save_weights` carries; empty for other files."""
    import safetensors

    if path.suffix != ".safetensors":
        return {}
    try:
        open_regular(path).close()
        with safetensors.safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except Exception as error:  # safetensors raises its own types, and OSError
        raise WeightsError("is not a safetensors file, or is cut short", subject=str(path)) from error


def stored_classes(net: torch.nn.Module, source: Path) -> int:
    """Number of classes of a checkpoint of this kind of supernet.

    Raises:
        WeightsError: an unreadable file, or one of another kind of net.
    """
    state = _state_dict(_read(source), source)
    if (translated := getattr(net, "translated", None)) is not None:
        state = translated(state)
    weight = canonical_key(f"{head_name(net)}.weight")
    for key, value in state.items():
        if canonical_key(key) == weight and value.ndim == 2:
            return len(value)
    raise WeightsError("holds no classifier of this supernet", subject=str(source))


def copy_body(donor: torch.nn.Module, net: torch.nn.Module) -> None:
    """Copy all weights but the classifier's from a supernet that differs in its number of classes alone."""
    import torch

    head = head_name(net) + "."
    given = donor.state_dict()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if not name.startswith(head):
                tensor.copy_(given[name])


def head_name(net: torch.nn.Module) -> str:
    """Name of the classifier: the last linear layer."""
    import torch

    names: list[str] = [n for n, module in net.named_modules() if isinstance(module, torch.nn.Linear)]
    return names[-1]


def weights_hash(path: str | Path) -> str:
    """sha256 of a file of weights, hexadecimal; raises :class:`WeightsError`."""
    return hashlib.sha256(_read(Path(path))).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, _MAX_BYTES)
    except FileNotFoundError:
        raise WeightsError("there is no such weights file", subject=str(path)) from None
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror or error})", subject=str(path)) from error


def _state_dict(data: bytes, path: Path) -> dict[str, torch.Tensor]:
    import safetensors.torch
    import torch

    if holds_bomb(data):
        raise WeightsError("expands far beyond its size, as no checkpoint does", subject=str(path))
    try:
        if path.suffix == ".safetensors":
            loaded: Any = safetensors.torch.load(data)
        else:
            with warnings.catch_warnings():  # about the pickle protocol: the error says enough
                warnings.simplefilter("ignore")
                loaded = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # torch, pickle, zip and safetensors each raise their own types
        raise WeightsError(
            "is not a checkpoint, is cut short, or contains more than tensors; none of its code was run",
            subject=str(path),
            hint='save it as torch.save({"state_dict": net.state_dict()}) or as .safetensors',
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not state:
        raise WeightsError("contains no state dict", subject=str(path))
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise WeightsError(f"contains no state dict: {key!r} is not a tensor", subject=str(path))
    return state


def canonical_key(key: str) -> str:
    """The canonical name of a tensor, under which checkpoints and modules are compared."""
    for old, new in _RENAMED:
        while old in key:  # a stem of a ResNet has three in a row
            key = key.replace(old, new)
    return key


def _misfit(path: Path, space: Space, what: str) -> WeightsError:
    return WeightsError(f"does not fit {space.id}: {what}", subject=str(path))
