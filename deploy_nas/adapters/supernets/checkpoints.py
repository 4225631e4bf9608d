"""Weights in files: checkpoints of ``ofa`` in every spelling, and safetensors."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy_nas.core.errors import WeightsError
from deploy_nas.core.space import Space
from deploy_nas.records.files import write_atomic

if TYPE_CHECKING:
    import torch

_COUNTER = "num_batches_tracked"
_MAX_BYTES = 4 * 1024**3

# Published checkpoints and the package's own modules spell the same tensor differently
# (what the ``load_state_dict`` of ofa's supernets renames); these bring all to one spelling.
_SPELLINGS = (
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
            ``{"state_dict": ...}`` (read with ``weights_only``), its keys in the published spelling or
            the modules' own. float16 becomes float32. ``num_batches_tracked`` is not needed. A net may
            have ``translated(state)``, which brings the state dict of another module into its own spelling.

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
    own = {spelling(k): (k, v) for k, v in net.state_dict().items() if not k.endswith(_COUNTER)}
    found: dict[str, torch.Tensor] = {}
    for key, value in given.items():
        if key.endswith(_COUNTER):
            continue
        if (spelled := spelling(key)) in found:
            raise _misfit(path, space, f"{key!r} stands twice, in two spellings")
        found[spelled] = value
    for spelled, (name, tensor) in own.items():
        if spelled not in found:
            raise _misfit(path, space, f"{name!r} is missing")
        value = found[spelled]
        if value.shape != tensor.shape:
            raise _misfit(
                path, space, f"{name!r} has shape {tuple(value.shape)}, it needs {tuple(tensor.shape)}"
            )
        if not value.is_floating_point() or value.layout != torch.strided or value.device.type != "cpu":
            raise _misfit(path, space, f"{name!r} is not a plain tensor of floating-point numbers")
        if not torch.isfinite(value).all():
            raise WeightsError(f"{name!r} holds infinities or not-a-numbers", subject=str(path))
    for key in given:
        if not key.endswith(_COUNTER) and spelling(key) not in own:
            raise _misfit(path, space, f"{key!r} is not in that net")
    with torch.no_grad():
        for spelled, (_, tensor) in own.items():
            tensor.copy_(found[spelled])
    return hashlib.sha256(data).hexdigest()


def save_weights(net: torch.nn.Module, path: Path, *, half: bool = False, force: bool = False) -> None:
    """Write the supernet's weights as safetensors, under the modules' own names; same weights, same bytes.

    ``half`` stores matrices and filters as float16; vectors (the batch norms) stay float32, for a
    variance may be too large or too small for float16.

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
    write_atomic(path, safetensors.torch.save(tensors), force=force)


def weights_hash(path: str | Path) -> str:
    """sha256 of a file of weights, hexadecimal; raises :class:`WeightsError`."""
    return hashlib.sha256(_read(Path(path))).hexdigest()


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise WeightsError("is too large to be a checkpoint of a supernet", subject=str(path))
        return path.read_bytes()
    except FileNotFoundError:
        raise WeightsError("there is no such file of weights", subject=str(path)) from None
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror or error})", subject=str(path)) from error


def _state_dict(data: bytes, path: Path) -> dict[str, torch.Tensor]:
    import safetensors.torch
    import torch

    try:
        if path.suffix == ".safetensors":
            loaded: Any = safetensors.torch.load(data)
        else:
            with warnings.catch_warnings():  # of a strange pickle protocol: the error says enough
                warnings.simplefilter("ignore")
                loaded = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # torch, pickle, zip and safetensors each raise their own
        raise WeightsError(
            "is no checkpoint, is cut short, or holds more than tensors; nothing of it was run",
            subject=str(path),
            hint='save it as torch.save({"state_dict": net.state_dict()}) or as .safetensors',
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not state:
        raise WeightsError("holds no state dict", subject=str(path))
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise WeightsError(f"holds no state dict: {key!r} is no tensor", subject=str(path))
    return state


def spelling(key: str) -> str:
    """A tensor's name in the one spelling that all are compared in."""
    for old, new in _SPELLINGS:
        while old in key:  # a stem of a ResNet has three in a row
            key = key.replace(old, new)
    return key


def _misfit(path: Path, space: Space, what: str) -> WeightsError:
    return WeightsError(f"does not fit {space.id}: {what}", subject=str(path))
