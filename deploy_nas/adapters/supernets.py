"""Supernets: the only importer of ``ofa``. Builds them, loads weights into them, takes subnets out.

``torch`` and ``ofa`` are imported inside the functions, so that importing this module costs nothing.
Modules are matched to a space's layers by order: a subnet's convolutions, batch norms and classifier
stand in its modules in the order of the operators in ``space.layers(architecture)``.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.errors import ImagesError, WeightsError
from deploy_nas.core.layers import Conv, Linear, SqueezeExcite
from deploy_nas.core.space import Space
from deploy_nas.records.files import write_atomic

if TYPE_CHECKING:
    import torch

Images = NDArray[np.float32]

_COUNTER = "num_batches_tracked"
_MAX_BYTES = 4 * 1024**3
_ARCHITECTURE_KEYS = ("ks", "e", "d", "w")

# Published checkpoints and the package's own modules spell the same tensor differently
# (what ``OFAMobileNetV3.load_state_dict`` renames); these bring both to one spelling.
_SPELLINGS = (
    (".mobile_inverted_conv.", ".conv."),
    (".bn.bn.", ".bn."),
    (".conv.conv.weight", ".conv.weight"),
    (".linear.linear.", ".linear."),
)


# -- building -----------------------------------------------------------------------------------


def build_supernet(space: Space, *, seed: int = 0) -> torch.nn.Module:
    """The space's supernet with random weights; the caller's own torch generator is left as it was.

    Raises:
        WeightsError: the space names a class this version cannot build.
    """
    arguments = copy.deepcopy(dict(space.supernet))  # ofa sorts the lists it is given
    kind = arguments.pop("class")
    if kind != "OFAMobileNetV3":
        raise WeightsError(f"its supernet is a {kind!r}, which cannot be built", subject=space.id)
    with _own_rng(seed):
        return _mobilenet_v3(**arguments)


@contextlib.contextmanager
def _own_rng(seed: int) -> Iterator[None]:
    """Only the CPU generator is seeded and put back: ``torch.manual_seed`` would touch every device's."""
    import torch

    kept = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        torch.set_rng_state(kept)


def _mobilenet_v3(*, stem_stride: int, stage_strides: list[int], **arguments: Any) -> torch.nn.Module:
    from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
    from ofa.utils.layers import IdentityLayer

    net: Any = OFAMobileNetV3(dropout_rate=0.0, **arguments)
    net.first_conv.stride, net.first_conv.conv.stride = stem_stride, (stem_stride, stem_stride)
    for indices, stride in zip(net.block_group_info, stage_strides, strict=True):
        block = net.blocks[indices[0]]
        block.conv.stride = block.conv.depth_conv.conv.stride = stride
        # ofa decided on the shortcut by its own stride
        same = stride == 1 and block.conv.in_channels == block.conv.out_channels
        block.shortcut = IdentityLayer(block.conv.in_channels, block.conv.out_channels) if same else None
    module: torch.nn.Module = net
    return module


def fuse_activations(net: torch.nn.Module) -> None:
    """Replace ofa's activation modules, in place, by torch's of the same function: quicker, same state."""
    from torch import nn

    ours = {"Hswish": nn.Hardswish, "Hsigmoid": nn.Hardsigmoid}
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if (kind := ours.get(type(child).__name__)) is not None:
                setattr(parent, name, kind(inplace=True))


def activate(net: torch.nn.Module, architecture: Mapping[str, Any]) -> None:
    """Set the supernet to one of its subnets (``set_active_subnet``); further keys are ignored."""
    chosen = {key: list(architecture[key]) for key in _ARCHITECTURE_KEYS if key in architecture}
    net.set_active_subnet(**chosen)  # type: ignore[operator]


def subnet(net: torch.nn.Module, architecture: Mapping[str, Any]) -> torch.nn.Module:
    """A subnet of its own (``get_active_subnet(preserve_weight=True)``), in evaluation mode.

    It shares no storage with the supernet, so recalibrating it leaves the supernet as it was.
    """
    activate(net, architecture)
    with _own_rng(0):  # ofa initialises the modules before it copies into them
        taken: torch.nn.Module = net.get_active_subnet(preserve_weight=True)  # type: ignore[operator]
    return taken.eval()


# -- running ------------------------------------------------------------------------------------


def forward(net: torch.nn.Module, images: Images) -> NDArray[np.float32]:
    """Logits float32 ``[b, classes]`` of float32 images ``[b, 3, s, s]``, in the mode the net is in."""
    import torch

    with torch.inference_mode():
        output = net(torch.from_numpy(np.ascontiguousarray(images)).to(_device(net)))
    logits: NDArray[np.float32] = output.cpu().numpy()
    return logits


def recalibrate(subnet: torch.nn.Module, batches: Iterable[Images]) -> int:
    """Estimate the batch-norm statistics anew, in place; returns how many images were seen.

    As ``ofa.imagenet_classification.elastic_nn.utils.set_running_statistics`` does: every batch is
    normalised by its own statistics, and the means and (population) variances of the batches are
    averaged, each weighted by its images. Batches should be mixed in their classes.

    Args:
        subnet: as :func:`subnet` gives it.
        batches: float32 ``[b, 3, s, s]`` each.

    Raises:
        ImagesError: there was no image.
    """
    import torch

    norms = [m for m in subnet.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    kept: dict[torch.nn.Module, tuple[Any, Any]] = {m: (m.running_mean, m.running_var) for m in norms}
    totals: dict[torch.nn.Module, list[Any]] = {m: [0.0, 0.0] for m in norms}

    def use_batch_statistics(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0]
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        totals[module][0] += mean.double() * len(x)
        totals[module][1] += variance.double() * len(x)
        module.running_mean, module.running_var = mean, variance

    hooks = [m.register_forward_pre_hook(use_batch_statistics) for m in norms]
    seen = 0
    subnet.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                if len(batch):
                    subnet(torch.from_numpy(np.ascontiguousarray(batch)).to(_device(subnet)))
                    seen += len(batch)
    finally:
        for hook in hooks:
            hook.remove()
        for m in norms:
            m.running_mean, m.running_var = kept[m]
    if not seen:
        raise ImagesError("no images to recalibrate on", subject="calibration images")
    with torch.no_grad():
        for m in norms:
            for buffer, total in zip(kept[m], totals[m], strict=True):
                buffer.copy_(total / seen)
    return seen


def _device(net: torch.nn.Module) -> torch.device:
    return next(net.parameters()).device


# -- out of the framework -----------------------------------------------------------------------


def folded_weights(
    space: Space, architecture: Mapping[str, Any], subnet: torch.nn.Module
) -> dict[str, NDArray[np.float32]]:
    """The subnet's weights under ``graphs.weight_shapes``'s names, each batch norm folded (in float64).

    Raises:
        WeightsError: the subnet is not of this architecture.
    """
    import torch

    kinds = (torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.Linear)
    modules = iter([m for m in subnet.modules() if isinstance(m, kinds)])
    weights: dict[str, NDArray[np.float32]] = {}

    def take(name: str, kind: type[Any], shape: tuple[int, ...]) -> Any:
        module = next(modules, None)
        if not isinstance(module, kind) or tuple(module.weight.shape) != shape:
            found = "nothing" if module is None else f"{type(module).__name__} {tuple(module.weight.shape)}"
            raise WeightsError(
                f"the subnet is not of this architecture: {found} where {kind.__name__} {shape} is due",
                subject=name,
            )
        return module

    def put(name: str, weight: NDArray[Any], bias: NDArray[Any] | None) -> None:
        weights[f"{name}.weight"] = weight.astype(np.float32)
        if bias is not None:
            weights[f"{name}.bias"] = bias.astype(np.float32)

    for place, layer in space.layers(architecture):
        for op in layer.ops:
            name = f"{place}/{op.role}"
            if isinstance(op, Conv):
                weight = _array(take(name, torch.nn.Conv2d, op.weight_shape).weight)
                bias = None
                if op.norm:
                    norm = take(name, torch.nn.BatchNorm2d, (op.out_channels,))
                    scale = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)
                    weight = weight * scale[:, None, None, None]
                    bias = _array(norm.bias) - _array(norm.running_mean) * scale
                put(name, weight, bias)
            elif isinstance(op, SqueezeExcite):
                wide, mid = op.channels, op.mid_channels
                for step, shape in (("reduce", (mid, wide, 1, 1)), ("expand", (wide, mid, 1, 1))):
                    conv = take(f"{name}.{step}", torch.nn.Conv2d, shape)
                    put(f"{name}.{step}", _array(conv.weight), _array(conv.bias))
            elif isinstance(op, Linear):
                linear = take(name, torch.nn.Linear, (op.out_channels, op.in_channels))
                put(name, _array(linear.weight)[:, :, None, None], _array(linear.bias))
    if next(modules, None) is not None:
        raise WeightsError(
            "the subnet has more modules than the architecture", subject=space.id, hint="take it out anew"
        )
    return weights


def _array(tensor: torch.Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = tensor.detach().cpu().double().numpy()
    return array


# -- weights in files ---------------------------------------------------------------------------


def load_weights(net: torch.nn.Module, space: Space, source: str | Path) -> str:
    """Copy a checkpoint into the supernet; every key and shape is checked before anything is copied.

    Args:
        net: as :func:`build_supernet` gives it.
        space: for messages.
        source: a ``.safetensors`` file, or a torch file holding a state dict or
            ``{"state_dict": ...}`` (read with ``weights_only``), its keys in the published spelling or
            the modules' own. float16 becomes float32. ``num_batches_tracked`` is not needed.

    Returns:
        sha256 of the bytes that were loaded.

    Raises:
        WeightsError: unreadable, unsafe or truncated file, or the first key that does not fit.
    """
    import torch

    path = Path(source)
    data = _read(path)
    given = _state_dict(data, path)
    own = {_spelling(k): (k, v) for k, v in net.state_dict().items() if not k.endswith(_COUNTER)}
    found: dict[str, torch.Tensor] = {}
    for key, value in given.items():
        if key.endswith(_COUNTER):
            continue
        if (spelled := _spelling(key)) in found:
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
        if not key.endswith(_COUNTER) and _spelling(key) not in own:
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


def _spelling(key: str) -> str:
    for old, new in _SPELLINGS:
        key = key.replace(old, new)
    return key


def _misfit(path: Path, space: Space, what: str) -> WeightsError:
    return WeightsError(f"does not fit {space.id}: {what}", subject=str(path))
