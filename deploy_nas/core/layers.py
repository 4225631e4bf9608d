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


Op = Conv | SqueezeExcite | GlobalPool | Linear


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One timed row: operators in a chain, with an optional identity shortcut around them.

    Args:
        kind: "stem", "mbconv" or "tail".
        in_channels: of the input image.
        in_size: side of the input, pixels.
        ops: the chain.
        residual: the input is added to the output.
    """

    kind: str
    in_channels: int
    in_size: int
    ops: tuple[Op, ...]
    residual: bool = False

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Side of the image before each operator, then after the last (1 after pooling)."""
        sizes = [self.in_size]
        for op in self.ops:
            if isinstance(op, Conv):
                sizes.append(op.out_size(sizes[-1]))
            elif isinstance(op, SqueezeExcite):
                sizes.append(sizes[-1])
            else:
                sizes.append(1)
        return tuple(sizes)

    @property
    def out_size(self) -> int:
        """Side of the output, pixels."""
        return self.sizes[-1]

    @property
    def out_channels(self) -> int:
        """Channels (or classes) of the output."""
        last = self.ops[-1]
        return last.channels if isinstance(last, SqueezeExcite | GlobalPool) else last.out_channels

    @cached_property
    def key(self) -> str:
        """The row's name in a profile: equal for layers that are the same work."""
        parts = [self.kind, f"in{self.in_size}x{self.in_size}x{self.in_channels}"]
        for op in self.ops:
            if isinstance(op, Conv):
                name = "dw" if op.depthwise else "conv"
                text = f"{name}{op.kernel}s{op.stride}o{op.out_channels}"
                parts.append(f"{text}+{op.activation}" if op.activation else text)
            elif isinstance(op, SqueezeExcite):
                parts.append(f"se{op.mid_channels}")
            elif isinstance(op, GlobalPool):
                parts.append("pool")
            else:
                parts.append(f"linear{op.out_channels}")
        if self.residual:
            parts.append("add")
        return "-".join(parts)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates, convolutions and the classifier; as OFA's ``count_flops_given_config``."""
        total = 0
        for op, after in zip(self.ops, self.sizes[1:], strict=True):
            if isinstance(op, Conv):
                out, inner, k, _ = op.weight_shape
                total += out * inner * k * k * after * after
            elif isinstance(op, SqueezeExcite):
                total += 2 * op.channels * op.mid_channels
            elif isinstance(op, Linear):
                total += op.in_channels * op.out_channels
        return total

    @cached_property
    def params(self) -> int:
        """Trainable parameters of the supernet's layer (a batch norm has two a channel)."""
        total = 0
        for op in self.ops:
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

        A depthwise convolution inside a residual layer also holds the layer's input. This is the
        definition of MIT's TinyML lab 3 (spaces' ``KBPeakMemory`` is this at one byte an element).
        """
        largest, channels = 0, self.in_channels
        for op, before, after in zip(self.ops, self.sizes, self.sizes[1:], strict=False):
            if isinstance(op, Conv | Linear):
                elements = channels * before * before + op.out_channels * after * after
                if isinstance(op, Conv) and op.depthwise and self.residual:
                    elements += self.in_channels * self.in_size * self.in_size
                largest = max(largest, elements)
                channels = op.out_channels
        return largest
