"""Layers: what a timed row is, as a value.

A layer (a stem, a whole MBConv, a tail) is a short list of operators with all sizes known. From
it follow its multiply-accumulates, parameters, peak memory, its key in a profile, and (one floor
up) its ONNX nodes. Nothing here knows weights or a framework.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from deploy_nas.core.operator_base import Operator, PlainOperator
from deploy_nas.core.operators import (
    Activation,
    Conv,
    GlobalPool,
    Linear,
    Padding,
    Pool,
    PoolKind,
    SqueezeExcite,
    Visitor,
)

__all__ = [
    "Activation",
    "Conv",
    "GlobalPool",
    "Layer",
    "Linear",
    "Operator",
    "Padding",
    "PlainOperator",
    "Pool",
    "PoolKind",
    "SqueezeExcite",
    "Step",
    "Visitor",
    "make_divisible",
]


def make_divisible(value: float, divisor: int = 8) -> int:
    """``value`` rounded to a multiple of ``divisor``, at most 10% down.

    Agrees with ``ofa.utils.make_divisible`` (the MobileNet papers' channel rounding).
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """An operator in its layer: sides of its input and output, pixels."""

    op: Operator
    in_size: int
    out_size: int


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One timed row: operators in a chain, with an optional shortcut around them.

    Args:
        kind: "stem", "mbconv", "bottleneck" or "tail".
        in_channels: of the input image.
        in_size: side of the input, pixels.
        ops: the chain.
        residual: the input, or what ``shortcut`` makes of it, is added to the output.
        shortcut: operators on the way around; none: the identity.
        activation: after the addition.
    """

    kind: str
    in_channels: int
    in_size: int
    ops: tuple[Operator, ...]
    residual: bool = False
    shortcut: tuple[Operator, ...] = ()
    activation: Activation = ""

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The chain."""
        return self._steps(self.ops)

    @cached_property
    def shortcut_steps(self) -> tuple[Step, ...]:
        """The way around."""
        return self._steps(self.shortcut)

    def _steps(self, ops: tuple[Operator, ...]) -> tuple[Step, ...]:
        steps = []
        size = self.in_size
        for op in ops:
            steps.append(Step(op=op, in_size=size, out_size=op.out_size(size)))
            size = steps[-1].out_size
        return tuple(steps)

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """The chain's, then the shortcut's: the order of modules in ``ofa``."""
        return (*self.steps, *self.shortcut_steps)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Side of the image before each operator of the chain, then after the last (1 after pooling)."""
        return (self.in_size, *(step.out_size for step in self.steps))

    @property
    def out_size(self) -> int:
        """Side of the output, pixels."""
        return self.sizes[-1]

    @property
    def out_channels(self) -> int:
        """Channels (or classes) of the output."""
        return self.ops[-1].out_channels

    @property
    def flat(self) -> bool:
        """Whether the output is ``[n, out_channels]`` instead of an image."""
        return self.ops[-1].flat

    # -- figures ---------------------------------------------------------------------------------

    @cached_property
    def key(self) -> str:
        """The row's name in a profile: equal for layers that are the same work."""
        parts = [self.kind, f"in{self.in_size}x{self.in_size}x{self.in_channels}"]
        parts += [op.key for op in self.ops]
        if self.residual:
            if self.shortcut:
                parts += ["skip", *(op.key for op in self.shortcut)]
            parts.append(f"add+{self.activation}" if self.activation else "add")
        return "-".join(parts)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates, convolutions and the classifier; as OFA's ``count_flops_given_config``."""
        return sum(step.op.macs(step.out_size) for step in self.all_steps)

    @cached_property
    def params(self) -> int:
        """Trainable parameters of the supernet's layer (a batch norm has two per channel)."""
        return sum(step.op.params for step in self.all_steps)

    @cached_property
    def peak_elements(self) -> int:
        """Largest input plus output of a convolution or the classifier, in elements.

        Inside a layer with a shortcut a depthwise convolution also holds the layer's input, unless that
        is its own input. This is the definition of MIT's TinyML lab 3 (spaces' ``KBPeakMemory`` is this
        at one byte per element); a bottleneck's 3x3 convolution counts as a depthwise one does.
        """
        largest = 0
        for step in self.all_steps:
            op = step.op
            if not op.counts_for_peak:
                continue
            elements = op.in_channels * step.in_size**2 + op.out_channels * step.out_size**2
            if self.residual and op.spatial and step is not self.steps[0]:
                elements += self.in_channels * self.in_size**2
            largest = max(largest, elements)
        return largest

    # -- shape, for drawing and for tables of others -----------------------------------------------

    @property
    def convs(self) -> tuple[Conv, ...]:
        """Convolutions of the chain (those inside squeeze-and-excitation are not counted)."""
        return tuple(conv for op in self.ops for conv in op.convs)

    @property
    def depthwise(self) -> Conv | None:
        """The first depthwise convolution of the chain, if it has one."""
        return next((conv for conv in self.convs if conv.depthwise), None)

    @property
    def kernel(self) -> int:
        """Kernel of the depthwise convolution, else the largest of all; 0 without convolutions."""
        return self.depthwise.kernel if self.depthwise else max((c.kernel for c in self.convs), default=0)

    @property
    def middle_channels(self) -> int:
        """Channels of the depthwise convolution, else of the widest; 0 without convolutions."""
        widest = max((conv.out_channels for conv in self.convs), default=0)
        return self.depthwise.out_channels if self.depthwise else widest

    @property
    def squeezes(self) -> bool:
        """Whether the chain has squeeze-and-excitation."""
        return any(op.squeezes for op in self.ops)

    @property
    def stride(self) -> int:
        """Product of the chain's strides."""
        return math.prod(op.stride for op in self.ops)
