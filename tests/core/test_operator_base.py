"""An operator of one's own, made of nothing but what it must say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import pytest

from deploy_nas.core.layers import Layer
from deploy_nas.core.operator_base import PlainOperator, strided
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
