"""A subnet's weights as arrays under the graph's names, with batch norms folded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters.supernets.host import usual_torch
from deploy_nas.core.errors import WeightsError
from deploy_nas.core.layers import Activation, Conv, GlobalPool, Linear, Pool, SqueezeExcite
from deploy_nas.core.space import Space
from deploy_nas.core.walk import walk

if TYPE_CHECKING:
    import torch


@usual_torch()
def folded_weights(
    space: Space, architecture: Mapping[str, Any], subnet: torch.nn.Module
) -> dict[str, NDArray[np.float32]]:
    """The subnet's weights as ``core.walk.weight_tensors`` names them, each batch norm folded (in float64).

    Raises:
        WeightsError: the subnet has another architecture.
    """
    folding = _Folding(subnet)
    walk(space.layers(architecture), folding, None)
    if next(folding.modules, None) is not None:
        raise WeightsError(
            "the subnet has more modules than the architecture", subject=space.id, hint="extract it again"
        )
    return folding.weights


class _Folding:
    """Consumes the subnet's modules in the order of its operators; images carry no value."""

    def __init__(self, subnet: torch.nn.Module) -> None:
        import torch

        self.nn = torch.nn
        kinds = (torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.Linear)
        self.modules = iter([m for m in subnet.modules() if isinstance(m, kinds)])
        self.weights: dict[str, NDArray[np.float32]] = {}

    def conv(self, op: Conv, name: str, in_size: int, x: None) -> None:
        weight = _array(self._take(name, self.nn.Conv2d, op.weight_shape).weight)
        if not op.norm:
            self._put(name, weight)
            return
        norm = self._take(name, self.nn.BatchNorm2d, (op.out_channels,))
        scale = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)
        bias = _array(norm.bias) - _array(norm.running_mean) * scale
        self._put(name, weight * scale[:, None, None, None], bias)

    def squeeze_excite(self, op: SqueezeExcite, name: str, in_size: int, x: None) -> None:
        for step in ("reduce", "expand"):
            shape = op.tensors[f"{step}.weight"].shape
            conv = self._take(f"{name}.{step}", self.nn.Conv2d, shape)
            self._put(f"{name}.{step}", _array(conv.weight), _array(conv.bias))

    def pool(self, op: Pool, name: str, in_size: int, x: None) -> None:
        """Nothing to do: it has no weights."""

    def global_pool(self, op: GlobalPool, name: str, in_size: int, x: None) -> None:
        """Nothing to do: it has no weights."""

    def linear(self, op: Linear, name: str, in_size: int, x: None) -> None:
        linear = self._take(name, self.nn.Linear, (op.out_channels, op.in_channels))
        self._put(name, _array(linear.weight)[:, :, None, None], _array(linear.bias))

    def add(self, activation: Activation, name: str, x: None, skip: None) -> None:
        """Nothing to do: it has no weights."""

    def _take(self, name: str, kind: type[Any], shape: tuple[int, ...]) -> Any:
        """The next module; :class:`WeightsError` unless it has this kind and shape."""
        module = next(self.modules, None)
        if not isinstance(module, kind) or tuple(module.weight.shape) != shape:
            found = "nothing" if module is None else f"{type(module).__name__} {tuple(module.weight.shape)}"
            raise WeightsError(
                f"the subnet is not of this architecture: {found} where {kind.__name__} {shape} is expected",
                subject=name,
            )
        return module

    def _put(self, name: str, weight: NDArray[Any], bias: NDArray[Any] | None = None) -> None:
        self.weights[f"{name}.weight"] = weight.astype(np.float32)
        if bias is not None:
            self.weights[f"{name}.bias"] = bias.astype(np.float32)


def _array(tensor: torch.Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = tensor.detach().cpu().double().numpy()
    return array
