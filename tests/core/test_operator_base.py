"""An operator of one's own, made of nothing but what it must say; padding and strides by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import pytest

from deploy_nas.core.layers import Layer
from deploy_nas.core.operator_base import PlainOperator, strided, tensorflow_pads
from deploy_nas.core.operators import Conv, Visitor

V = TypeVar("V")


@dataclass(frozen=True, kw_only=True, slots=True)
class Twice(PlainOperator):
    """Runs the same convolution twice."""

    stride: ClassVar[int] = 1
    role: str
    conv: Conv

    @property
    def in_channels(self) -> int:
        return self.conv.in_channels

    @property
    def out_channels(self) -> int:
        return self.conv.out_channels

    @property
    def key(self) -> str:
        return f"twice-{self.conv.key}"

    def visit(self, visitor: Visitor[V], name: str, in_size: int, x: V) -> V:
        first = visitor.conv(self.conv, f"{name}/first", in_size, x)
        return visitor.conv(self.conv, f"{name}/second", in_size, first)


class Names:
    """Joins the names of the convolutions it visits."""

    def conv(self, op: Conv, name: str, in_size: int, x: str) -> str:
        return f"{x} {name}".strip()


def test_defaults_are_an_operator_without_weights_that_keeps_the_image() -> None:
    op = Twice(role="t", conv=Conv(role="c", in_channels=4, out_channels=4))
    assert (op.params, op.tensors, op.convs, op.out_size(9), op.macs(9)) == (0, {}, (), 9, 0)
    assert not (op.squeezes or op.flat or op.counts_for_peak or op.spatial)


def test_a_layer_of_it_has_a_key_and_calls_several_methods() -> None:
    op = Twice(role="t", conv=Conv(role="c", in_channels=4, out_channels=4))
    assert Layer(kind="mine", in_channels=4, in_size=9, ops=(op,)).key == "mine-in9x9x4-twice-conv1s1o4"
    assert op.visit(Names(), "a", 9, "") == "a/first a/second"  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "stride", "out"), [(7, 2, 4), (8, 2, 4), (1, 2, 1), (5, 1, 5), (9, 3, 3)])
def test_strided(size: int, stride: int, out: int) -> None:
    assert strided(size, stride) == out


@pytest.mark.parametrize(
    ("in_size", "kernel", "stride", "pads"),
    [
        (224, 3, 2, (0, 1)),  # the extra pixel is after
        (7, 3, 2, (1, 1)),
        (56, 5, 2, (1, 2)),
        (7, 5, 2, (2, 2)),
        (1, 5, 2, (2, 2)),
        (14, 3, 1, (1, 1)),
        (13, 5, 1, (2, 2)),
        (8, 1, 2, (0, 0)),  # the windows do not reach the border
        (8, 1, 1, (0, 0)),
        (9, 3, 3, (0, 0)),
        (10, 3, 3, (1, 1)),
    ],
)
def test_tensorflows_padding(in_size: int, kernel: int, stride: int, pads: tuple[int, int]) -> None:
    assert tensorflow_pads(in_size, kernel, stride) == pads


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows_end_within_the_padded_image(kernel: int, stride: int) -> None:
    for in_size in range(1, 40):
        before, after = tensorflow_pads(in_size, kernel, stride)
        assert (in_size + before + after - kernel) // stride + 1 == strided(in_size, stride)
        assert 0 <= after - before <= 1


def test_only_a_stride_shows_which_padding_it_is() -> None:
    def conv(stride: int, padding: str) -> Conv:
        assert padding in ("half", "tensorflow")
        return Conv(
            role="a",
            in_channels=8,
            out_channels=8,
            kernel=3,
            stride=stride,
            depthwise=True,
            padding="half" if padding == "half" else "tensorflow",
        )

    assert conv(1, "half").key == conv(1, "tensorflow").key == "dw3s1o8"
    assert (conv(2, "half").key, conv(2, "tensorflow").key) == ("dw3s2o8", "dw3s2tfo8")
    for size in (6, 7):
        assert conv(1, "half").pads(size) == conv(1, "tensorflow").pads(size) == (1, 1)
    assert (conv(2, "half").pads(6), conv(2, "tensorflow").pads(6)) == ((1, 1), (0, 1))
    assert conv(2, "half").pads(7) == conv(2, "tensorflow").pads(7) == (1, 1)
