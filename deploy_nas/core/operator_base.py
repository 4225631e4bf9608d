"""Operators, the parts of a layer: each knows its own numbers, and which method of a visitor is its own.

Code that treats operators differently by kind (an ONNX emitter, weight folding) is a
:class:`~deploy_nas.core.operators.Visitor`; ``operator.visit(visitor, ...)`` calls the method for its kind.
An operator of your own can be built from these: its ``visit`` calls several of the visitor's methods in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from deploy_nas.core.tensors import TensorSpec

if TYPE_CHECKING:
    from deploy_nas.core.operators import Conv, Visitor

V = TypeVar("V")


class Operator(Protocol):
    """One step of a layer, as layers and graph builders see it; :class:`PlainOperator` has defaults."""

    @property
    def role(self) -> str:
        """Name within its layer."""
        ...

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        ...

    @property
    def out_channels(self) -> int:
        """Channels (or classes) of the output."""
        ...

    @property
    def stride(self) -> int:
        """Input pixels per output pixel along a side; 1 for an operator that keeps or drops the image."""
        ...

    @property
    def key(self) -> str:
        """Its part of a row's key: equal for equal work on equal inputs."""
        ...

    @property
    def params(self) -> int:
        """Trainable parameters in the supernet (two per channel of a batch norm)."""
        ...

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """Weights and biases of the float graph, batch norms folded, by name suffix, in order."""
        ...

    @property
    def convs(self) -> tuple[Conv, ...]:
        """Convolutions over the image in it."""
        ...

    @property
    def squeezes(self) -> bool:
        """Whether it is squeeze-and-excitation."""
        ...

    @property
    def flat(self) -> bool:
        """Whether its output is ``[n, out_channels]`` instead of an image."""
        ...

    @property
    def counts_for_peak(self) -> bool:
        """Whether peak memory looks at its input and output."""
        ...

    @property
    def spatial(self) -> bool:
        """Whether an output pixel depends on several input pixels around it (a kernel above 1x1)."""
        ...

    def out_size(self, in_size: int) -> int:
        """Side of the output for an input of side ``in_size``, pixels."""
        ...

    def macs(self, out_size: int) -> int:
        """Multiply-accumulates for an output of side ``out_size``."""
        ...

    def visit(self, visitor: Visitor[V], name: str, in_size: int, x: V) -> V:
        """Call the visitor's method for this kind of operator."""
        ...


class PlainOperator:
    """Defaults: an operator without weights that keeps the image."""

    __slots__ = ()

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return 0

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """Weights and biases by name suffix."""
        return {}

    @property
    def convs(self) -> tuple[Conv, ...]:
        """Convolutions over the image."""
        return ()

    @property
    def squeezes(self) -> bool:
        """Whether it is squeeze-and-excitation."""
        return False

    @property
    def flat(self) -> bool:
        """Whether its output is ``[n, out_channels]``."""
        return False

    @property
    def counts_for_peak(self) -> bool:
        """Whether peak memory looks at its input and output."""
        return False

    @property
    def spatial(self) -> bool:
        """Whether its kernel is above 1x1."""
        return False

    def out_size(self, in_size: int) -> int:
        """Side of the output, pixels."""
        return in_size

    def macs(self, out_size: int) -> int:
        """Multiply-accumulates."""
        return 0


def strided(size: int, stride: int) -> int:
    """Side of an image of side ``size`` after an operator of that stride, "same" padding."""
    return (size - 1) // stride + 1
