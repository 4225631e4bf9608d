"""Out of the framework: a subnet's weights under the graph's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.errors import WeightsError
from deploy_nas.core.layers import Conv, Linear, SqueezeExcite
from deploy_nas.core.space import Space

if TYPE_CHECKING:
    import torch


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
        for op in (step.op for step in layer.all_steps):
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
