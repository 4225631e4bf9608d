"""Weights in files: checkpoints of ``ofa`` with any of its key names, wrapped or not, and safetensors."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_nas.adapters.supernets.host import usual_torch
from deploy_nas.adapters.supernets.wrappings import unwrapped
from deploy_nas.core.errors import WeightsError
from deploy_nas.core.reader import open_regular, read_regular
from deploy_nas.core.seals import DIGEST
from deploy_nas.core.space import Space
from deploy_nas.records.files import write_atomic
from deploy_nas.records.tensor_file import check_tensors_seal, sealed_tensors
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """The sha256 of the bytes that were loaded, and what was wrapped around the weights; empty: nothing."""

    sha256: str
    wrapping: str = ""


@usual_torch()
def load_weights(net: torch.nn.Module, space: Space, source: str | Path, *, part: str = "") -> Loaded:
    """Copy a checkpoint into a net; every key and shape is checked before anything is copied.

    Args:
        net: as :func:`build_supernet` or :func:`subnet` gives it.
        space: for messages.
        source: a ``.safetensors`` file, or a torch file (read with ``weights_only``) that holds a state dict,
            wrapped as :mod:`wrappings` knows it, with the key names of the published checkpoints or of the
            modules. float16 becomes float32. ``num_batches_tracked`` is not needed. A net may have
            ``translated(state)``, which gives another module's tensors its own names.
        part: the weights that are meant in a file that holds several, as :func:`unwrapped` takes it.

    Raises:
        WeightsError: unreadable, unsafe, truncated or edited file, several sets of weights that fit, or the
            first key that does not fit.
    """
    import torch

    path = Path(source)
    data = _read(path)
    if path.suffix == ".safetensors":
        check_tensors_seal(data, str(path))
    fit = _Fit(net)
    given, wrapping = unwrapped(_value(data, path), str(path), fit.fits, fit.known, part)
    given = fit.translated(given)
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
    return Loaded(sha256=hashlib.sha256(data).hexdigest(), wrapping=wrapping)


class _Fit:
    """Whether a state dict is that of a net; in ``any_classes`` its classifier may be of other classes."""

    def __init__(self, net: torch.nn.Module, *, any_classes: bool = False) -> None:
        self.net = net
        self.shapes = {
            canonical_key(name): tuple(value.shape)
            for name, value in net.state_dict().items()
            if not name.endswith(_COUNTER)
        }
        self.free = canonical_key(f"{head_name(net)}.") if any_classes else None

    def translated(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        translate: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None
        translate = getattr(self.net, "translated", None)
        return state if translate is None else translate(state)

    def fits(self, state: dict[str, torch.Tensor]) -> bool:
        """Whether it has the net's tensors, each in its shape, and no other."""
        given = self._shapes(state)
        return given.keys() == self.shapes.keys() and all(
            shape == given[name] or (self.free is not None and name.startswith(self.free))
            for name, shape in self.shapes.items()
        )

    def known(self, state: dict[str, torch.Tensor]) -> int:
        """How many of the net's tensors it has."""
        return len(self._shapes(state).keys() & self.shapes.keys())

    def _shapes(self, state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
        return {
            canonical_key(key): tuple(value.shape)
            for key, value in self.translated(state).items()
            if not key.endswith(_COUNTER)
        }


@usual_torch()
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
    data = safetensors.torch.save(tensors, dict(notes) if notes else None)
    write_atomic(path, sealed_tensors(data), force=force)


def weights_notes(path: Path) -> dict[str, str]:
    """The texts that a file of :func:`save_weights` carries; empty for other files."""
    import safetensors

    if path.suffix != ".safetensors":
        return {}
    try:
        open_regular(path).close()
        with safetensors.safe_open(path, framework="numpy") as file:
            return {key: text for key, text in (file.metadata() or {}).items() if key != DIGEST}
    except Exception as error:  # safetensors raises its own types, and OSError
        raise WeightsError("is not a safetensors file, or is cut short", subject=str(path)) from error


@usual_torch()
def stored_classes(net: torch.nn.Module, source: Path, *, part: str = "") -> int:
    """Number of classes of a checkpoint of this kind of supernet, or of a ``part`` of the file.

    Raises:
        WeightsError: an unreadable file, or one of another kind of net.
    """
    fit = _Fit(net, any_classes=True)
    loaded = _value(_read(source), source)
    state = fit.translated(unwrapped(loaded, str(source), fit.fits, fit.known, part)[0])
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


def _value(data: bytes, path: Path) -> object:
    """The value that a file holds, read without running any code of it."""
    import safetensors.torch
    import torch

    if holds_bomb(data):
        raise WeightsError("expands far beyond its size, as no checkpoint does", subject=str(path))
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load(data)
        with warnings.catch_warnings():  # about the pickle protocol: the error says enough
            warnings.simplefilter("ignore")
            loaded: object = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # torch, pickle, zip and safetensors each raise their own types
        raise WeightsError(
            "is not a checkpoint, is cut short, or contains more than tensors; none of its code was run",
            subject=str(path),
            hint='save it as torch.save({"state_dict": net.state_dict()}) or as .safetensors',
        ) from error
    return loaded


def canonical_key(key: str) -> str:
    """The canonical name of a tensor, under which checkpoints and modules are compared."""
    for old, new in _RENAMED:
        while old in key:  # a stem of a ResNet has three in a row
            key = key.replace(old, new)
    return key


def _misfit(path: Path, space: Space, what: str) -> WeightsError:
    return WeightsError(f"does not fit {space.id}: {what}", subject=str(path))
