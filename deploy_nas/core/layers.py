"""Layers: what a timed row is, as a value.

A layer (a stem, a whole MBConv, a tail) is a short list of operators with all sizes known. From
it follow its multiply-accumulates, parameters, peak memory, its key in a profile, and (one floor
up) its ONNX nodes. Nothing here knows weights or a framework.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Activation = Literal["", "relu", "relu6", "hard_swish"]
PoolKind = Literal["max", "average"]


def make_divisible(value: float, divisor: int = 8) -> int:
    """``value`` rounded to a multiple of ``divisor``, at most 10% down.

    Agrees with ``ofa.utils.make_divisible`` (the MobileNet papers' channel rounding).
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclass(frozen=True, kw_only=True, slots=True)
class Conv:
    """A square convolution with "same" padding ``kernel // 2``, its batch norm folded in.

    ``norm`` says that the supernet has a batch norm after it (for the parameter count and for
    folding). A convolution with neither norm nor ``bias`` exports without a bias.
    """

    role: str
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    norm: bool = True
    activation: Activation = ""

    def out_size(self, in_size: int) -> int:
        """Side of the output for an input of side ``in_size``."""
        return (in_size - 1) // self.stride + 1

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weight, as ONNX and PyTorch have it."""
        inner = 1 if self.depthwise else self.in_channels
        return (self.out_channels, inner, self.kernel, self.kernel)


@dataclass(frozen=True, kw_only=True, slots=True)
class SqueezeExcite:
    """Global pool, two 1x1 convolutions (ReLU, hard sigmoid), and a gate on the image."""

    role: str
    channels: int
    mid_channels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """Largest or mean of square windows.

    A maximum has "same" padding ``kernel // 2``; the windows of an average (``kernel == stride``) do not
    overlap, and one past the border is over the pixels there are.
    """

    role: str
    channels: int
    kind: PoolKind
    kernel: int
    stride: int

    def out_size(self, in_size: int) -> int:
        """Side of the output for an input of side ``in_size``."""
        return (in_size - 1) // self.stride + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class GlobalPool:
    """Mean over the image."""

    role: str
    channels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Linear:
    """The classifier: flatten and a matrix product with a bias."""

    role: str
    in_channels: int
    out_channels: int


Op = Conv | SqueezeExcite | Pool | GlobalPool | Linear


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """An operator where it stands: channels and side of its input, side of its output."""

    op: Op
    channels: int
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
    ops: tuple[Op, ...]
    residual: bool = False
    shortcut: tuple[Op, ...] = ()
    activation: Activation = ""

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The chain."""
        return self._steps(self.ops)

    @cached_property
    def shortcut_steps(self) -> tuple[Step, ...]:
        """The way around."""
        return self._steps(self.shortcut)

    def _steps(self, ops: tuple[Op, ...]) -> tuple[Step, ...]:
        steps = []
        channels, size = self.in_channels, self.in_size
        for op in ops:
            after = size
            if isinstance(op, Conv | Pool):
                after = op.out_size(size)
            elif not isinstance(op, SqueezeExcite):
                after = 1
            steps.append(Step(op=op, channels=channels, in_size=size, out_size=after))
            channels = op.out_channels if isinstance(op, Conv | Linear) else channels
            size = after
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
        last = self.ops[-1]
        return last.out_channels if isinstance(last, Conv | Linear) else last.channels

    @cached_property
    def key(self) -> str:
        """The row's name in a profile: equal for layers that are the same work."""
        parts = [self.kind, f"in{self.in_size}x{self.in_size}x{self.in_channels}", *map(_op_key, self.ops)]
        if self.residual:
            if self.shortcut:
                parts += ["skip", *map(_op_key, self.shortcut)]
            parts.append(f"add+{self.activation}" if self.activation else "add")
        return "-".join(parts)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates, convolutions and the classifier; as OFA's ``count_flops_given_config``."""
        total = 0
        for step in self.all_steps:
            op = step.op
            if isinstance(op, Conv):
                out, inner, k, _ = op.weight_shape
                total += out * inner * k * k * step.out_size * step.out_size
            elif isinstance(op, SqueezeExcite):
                total += 2 * op.channels * op.mid_channels
            elif isinstance(op, Linear):
                total += op.in_channels * op.out_channels
        return total

    @cached_property
    def params(self) -> int:
        """Trainable parameters of the supernet's layer (a batch norm has two a channel)."""
        total = 0
        for step in self.all_steps:
            op = step.op
            if isinstance(op, Conv):
                out, inner, k, _ = op.weight_shape
                total += out * inner * k * k + (2 * out if op.norm else 0)
            elif isinstance(op, SqueezeExcite):
                total += 2 * op.channels * op.mid_channels + op.channels + op.mid_channels
            elif isinstance(op, Linear):
                total += op.in_channels * op.out_channels + op.out_channels
        return total

    @cached_property
    def peak_elements(self) -> int:
        """Largest input plus output of a convolution or the classifier, in elements.

        Inside a layer with a shortcut a depthwise convolution also holds the layer's input, unless that
        is its own input. This is the definition of MIT's TinyML lab 3 (spaces' ``KBPeakMemory`` is this
        at one byte an element); a bottleneck's 3x3 convolution counts as a depthwise one does.
        """
        largest = 0
        for step in self.all_steps:
            if isinstance(step.op, Conv | Linear):
                elements = step.channels * step.in_size**2 + step.op.out_channels * step.out_size**2
                spatial = isinstance(step.op, Conv) and step.op.kernel > 1
                if self.residual and spatial and step is not self.steps[0]:
                    elements += self.in_channels * self.in_size**2
                largest = max(largest, elements)
        return largest


def _op_key(op: Op) -> str:
    if isinstance(op, Conv):
        text = f"{'dw' if op.depthwise else 'conv'}{op.kernel}s{op.stride}o{op.out_channels}"
        return f"{text}+{op.activation}" if op.activation else text
    if isinstance(op, SqueezeExcite):
        return f"se{op.mid_channels}"
    if isinstance(op, Pool):
        return f"{op.kind}pool{op.kernel}s{op.stride}"
    return "pool" if isinstance(op, GlobalPool) else f"linear{op.out_channels}"
