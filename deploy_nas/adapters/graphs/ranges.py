"""The layers that become INT8, and the tensors whose ranges are needed for it."""

from __future__ import annotations

from collections.abc import Mapping

from deploy_nas.adapters.graphs.nodes import INPUT
from deploy_nas.core.layers import Activation, Conv, GlobalPool, Linear, Pool, SqueezeExcite
from deploy_nas.core.walk import NamedLayers, walk

Range = tuple[float, float]
"""Smallest and largest value of a tensor."""
Ranges = Mapping[str, Range]


def float_layers(layers: NamedLayers) -> int:
    """Number of leading layers that stay in float: the stem, and a block after it without an expansion.

    They have few channels on the largest images, where INT8 does not pay: measured, the stem takes 1.9 times
    as long in INT8 and such a block 2.3 times (docs/notes/export.md).
    """
    count = 0
    for _, layer in layers:
        if not (layer.kind == "stem" or layer.ops[0] is layer.depthwise):
            break
        count += 1
    return count


def range_tensors(layers: NamedLayers) -> dict[str, str]:
    """The names that ``build_int8`` needs ranges for, each with the tensor of the float graph to observe."""
    head = float_layers(layers)
    entry = walk(layers[:head], _FloatNames(), INPUT)
    names = _FloatNames()
    walk(layers[head:], names, entry)
    return {entry: entry} | names.found


class _FloatNames:
    """Represents an image by its tensor in the float graph; ``found`` maps INT8 names to these tensors."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def _note(self, name: str, activation: Activation = "") -> str:
        self.found[name] = f"{name}.{activation}" if activation else name
        return self.found[name]

    def conv(self, op: Conv, name: str, in_size: int, x: str) -> str:
        return self._note(name, op.activation)

    def squeeze_excite(self, op: SqueezeExcite, name: str, in_size: int, x: str) -> str:
        self._note(f"{name}.pool")
        self._note(f"{name}.reduce", "relu")
        return self._note(name)

    def pool(self, op: Pool, name: str, in_size: int, x: str) -> str:
        return self._note(name)

    def global_pool(self, op: GlobalPool, name: str, in_size: int, x: str) -> str:
        return self._note(name)

    def linear(self, op: Linear, name: str, in_size: int, x: str) -> str:
        return x  # its result is the output, which stays in float

    def add(self, activation: Activation, name: str, x: str, skip: str) -> str:
        return self._note(name, activation)
