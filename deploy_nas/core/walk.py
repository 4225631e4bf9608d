"""The one walk over a network: operators in order, their names, and the shortcuts around them.

Graph builders, weight folding and lists of tensors all go this way, so that an operator has one name
everywhere: ``place/role``, such as ``stage2.block1/depthwise``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from deploy_nas.core.layers import Activation, Layer, Operator, Step, Visitor
from deploy_nas.core.tensors import TensorSpec

NamedLayers = Sequence[tuple[str, Layer]]
"""Places and layers in order."""

V = TypeVar("V")


class Emitter(Visitor[V], Protocol[V]):
    """A visitor that can also add a shortcut."""

    def add(self, activation: Activation, name: str, x: V, skip: V) -> V:
        """The addition at the end of a layer with a shortcut, and the activation after it."""
        ...


def walk(layers: NamedLayers, emitter: Emitter[V], x: V) -> V:
    """Visit every operator in order; ``x`` is the value of the input, the result that of the output."""
    for place, layer in layers:
        entry = x
        x = _chain(place, layer.steps, emitter, entry)
        if layer.residual:
            skip = _chain(place, layer.shortcut_steps, emitter, entry)
            x = emitter.add(layer.activation, f"{place}/add", x, skip)
    return x


def _chain(place: str, steps: Sequence[Step], emitter: Emitter[V], x: V) -> V:
    for step in steps:
        x = step.op.visit(emitter, f"{place}/{step.op.role}", step.in_size, x)
    return x


def named_operators(layers: NamedLayers) -> Iterator[tuple[str, Operator]]:
    """Name and operator, in the walk's order."""
    for place, layer in layers:
        for step in layer.all_steps:
            yield f"{place}/{step.op.role}", step.op


def weight_tensors(layers: NamedLayers) -> dict[str, TensorSpec]:
    """Every weight and bias that a float graph of these layers needs, by name, in order."""
    return {
        f"{name}.{suffix}": spec
        for name, op in named_operators(layers)
        for suffix, spec in op.tensors.items()
    }


def weight_shapes(layers: NamedLayers) -> dict[str, tuple[int, ...]]:
    """Their shapes."""
    return {name: spec.shape for name, spec in weight_tensors(layers).items()}
