"""The operators there are, each with its own numbers, and the interface of what visits them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeVar

from deploy_nas.core.operator_base import PlainOperator, strided, tensorflow_pads
from deploy_nas.core.tensors import TensorSpec

Activation = Literal["", "relu", "relu6", "hard_swish"]
PoolKind = Literal["max", "average"]
Padding = Literal["half", "tensorflow"]
"""``kernel // 2`` on every side, or what TensorFlow's "SAME" adds, which depends on the image's side."""
V = TypeVar("V")


class Visitor(Protocol[V]):
    """One method for each kind of operator. ``V`` is what stands for an image on its way: a tensor name.

    Every method takes the operator, its name in the network (``stage2.block1/depthwise``), the side of its
    input in pixels and the value of its input; it returns the value of its output.
    """

    def conv(self, op: Conv, name: str, in_size: int, x: V) -> V:
        """A convolution with its batch norm and activation."""
        ...

    def squeeze_excite(self, op: SqueezeExcite, name: str, in_size: int, x: V) -> V:
        """Squeeze-and-excitation."""
        ...

    def pool(self, op: Pool, name: str, in_size: int, x: V) -> V:
        """Pooling over windows."""
        ...

    def global_pool(self, op: GlobalPool, name: str, in_size: int, x: V) -> V:
        """Mean over the image."""
        ...

    def linear(self, op: Linear, name: str, in_size: int, x: V) -> V:
        """The classifier."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Conv(PlainOperator):
    """A square convolution with padding that keeps the image's side, its batch norm folded in.

    ``norm`` says that the supernet has a batch norm after it (for the parameter count and for
    folding). A convolution without ``norm`` exports without a bias. ``padding`` says which pixels a
    stride keeps: see :data:`Padding`.
    """

    role: str
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    norm: bool = True
    activation: Activation = ""
    padding: Padding = "half"

    def out_size(self, in_size: int) -> int:
        """Side of the output, pixels."""
        return strided(in_size, self.stride)

    def pads(self, in_size: int) -> tuple[int, int]:
        """Pixels of padding before and after an image of side ``in_size``, in both directions."""
        if self.padding == "tensorflow":
            return tensorflow_pads(in_size, self.kernel, self.stride)
        return self.kernel // 2, self.kernel // 2

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weight, as ONNX and PyTorch have it."""
        inner = 1 if self.depthwise else self.in_channels
        return (self.out_channels, inner, self.kernel, self.kernel)

    @property
    def weight_count(self) -> int:
        """Elements of the weight."""
        out, inner, height, width = self.weight_shape
        return out * inner * height * width

    @property
    def key(self) -> str:
        """Such as ``dw3s2o48+relu``, or ``dw3s2tfo48+relu`` padded as TensorFlow does.

        With a stride of 1 both paddings are one, and so is the key.
        """
        moved = "tf" if self.padding == "tensorflow" and self.stride > 1 else ""
        text = f"{'dw' if self.depthwise else 'conv'}{self.kernel}s{self.stride}{moved}o{self.out_channels}"
        return f"{text}+{self.activation}" if self.activation else text

    def macs(self, out_size: int) -> int:
        """Multiply-accumulates for an output of side ``out_size``."""
        return self.weight_count * out_size**2

    @property
    def params(self) -> int:
        """Weight, and two per output channel with a batch norm."""
        return self.weight_count + (2 * self.out_channels if self.norm else 0)

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """``weight`` and, with a batch norm, ``bias``."""
        weight = {"weight": TensorSpec(shape=self.weight_shape)}
        return weight | {"bias": TensorSpec(shape=(self.out_channels,))} if self.norm else weight

    @property
    def convs(self) -> tuple[Conv, ...]:
        """Itself."""
        return (self,)

    @property
    def counts_for_peak(self) -> bool:
        """Always."""
        return True

    @property
    def spatial(self) -> bool:
        """Whether its kernel is above 1x1."""
        return self.kernel > 1

    def visit(self, visitor: Visitor[V], name: str, in_size: int, x: V) -> V:
        """See :class:`Operator`."""
        return visitor.conv(self, name, in_size, x)


class _SameChannels(PlainOperator):
    """As many channels out as in."""

    __slots__ = ()
    channels: int

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.channels

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.channels


@dataclass(frozen=True, kw_only=True, slots=True)
class SqueezeExcite(_SameChannels):
    """Global pool, two 1x1 convolutions (ReLU, hard sigmoid), and a gate on the image."""

    stride: ClassVar[int] = 1
    role: str
    channels: int
    mid_channels: int

    @property
    def key(self) -> str:
        """Such as ``se12``."""
        return f"se{self.mid_channels}"

    def macs(self, out_size: int) -> int:
        """Of the two convolutions, whatever the size of the image."""
        return 2 * self.channels * self.mid_channels

    @property
    def params(self) -> int:
        """Weights and biases of both convolutions."""
        return 2 * self.channels * self.mid_channels + self.channels + self.mid_channels

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """``reduce`` and ``expand``, a 1x1 weight and a bias each."""
        wide, mid = self.channels, self.mid_channels
        return {
            "reduce.weight": TensorSpec(shape=(mid, wide, 1, 1)),
            "reduce.bias": TensorSpec(shape=(mid,)),
            "expand.weight": TensorSpec(shape=(wide, mid, 1, 1)),
            "expand.bias": TensorSpec(shape=(wide,)),
        }

    @property
    def squeezes(self) -> bool:
        """Always."""
        return True

    def visit(self, visitor: Visitor[V], name: str, in_size: int, x: V) -> V:
        """See :class:`Operator`."""
        return visitor.squeeze_excite(self, name, in_size, x)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool(_SameChannels):
    """Maximum or mean of square windows.

    A maximum has "same" padding ``kernel // 2``; the windows of an average (``kernel == stride``) do not
    overlap, and one that reaches past the border averages the pixels inside it.
    """

    role: str
    channels: int
    kind: PoolKind
    kernel: int
    stride: int

    def out_size(self, in_size: int) -> int:
        """Side of the output, pixels."""
        return strided(in_size, self.stride)

    @property
    def key(self) -> str:
        """Such as ``maxpool3s2``."""
        return f"{self.kind}pool{self.kernel}s{self.stride}"

    def visit(self, visitor: Visitor[V], name: str, in_size: int, x: V) -> V:
        """See :class:`Operator`."""
        return visitor.pool(self, name, in_size, x)


@dataclass(frozen=True, kw_only=True, slots=True)
class GlobalPool(_SameChannels):
    """Mean over the image."""

    stride: ClassVar[int] = 1
    key: ClassVar[str] = "pool"
    role: str
    channels: int

    def out_size(self, in_size: int) -> int:
        """One pixel."""
        return 1

    def visit(self, visitor: Visitor[V], name: str, in_size: int, x: V) -> V:
        """See :class:`Operator`."""
        return visitor.global_pool(self, name, in_size, x)


@dataclass(frozen=True, kw_only=True, slots=True)
class Linear(PlainOperator):
    """The classifier: flatten and a matrix product with a bias."""

    stride: ClassVar[int] = 1
    role: str
    in_channels: int
    out_channels: int

    def out_size(self, in_size: int) -> int:
        """One pixel."""
        return 1

    @property
    def key(self) -> str:
        """Such as ``linear1000``."""
        return f"linear{self.out_channels}"

    def macs(self, out_size: int) -> int:
        """Elements of the weight."""
        return self.in_channels * self.out_channels

    @property
    def params(self) -> int:
        """Weight and bias."""
        return self.in_channels * self.out_channels + self.out_channels

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """``weight``, shaped as a 1x1 convolution's, and ``bias``."""
        return {
            "weight": TensorSpec(shape=(self.out_channels, self.in_channels, 1, 1)),
            "bias": TensorSpec(shape=(self.out_channels,)),
        }

    @property
    def flat(self) -> bool:
        """Always."""
        return True

    @property
    def counts_for_peak(self) -> bool:
        """Always."""
        return True

    def visit(self, visitor: Visitor[V], name: str, in_size: int, x: V) -> V:
        """See :class:`Operator`."""
        return visitor.linear(self, name, in_size, x)
