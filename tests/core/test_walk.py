"""The walk: names, order, and both ways around a shortcut; written down by an emitter of words."""

from __future__ import annotations

from dataclasses import dataclass

from deploy_nas.core.layers import (
    Activation,
    Conv,
    GlobalPool,
    Layer,
    Linear,
    PlainOperator,
    Pool,
    SqueezeExcite,
    Visitor,
)
from deploy_nas.core.operators import V
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.core.walk import named_operators, walk, weight_shapes, weight_tensors


class Words:
    """The value of an image is how it was made."""

    def conv(self, op: Conv, name: str, in_size: int, x: str) -> str:
        return f"{name}@{in_size}({x})"

    def squeeze_excite(self, op: SqueezeExcite, name: str, in_size: int, x: str) -> str:
        return f"{name}@{in_size}({x})"

    def pool(self, op: Pool, name: str, in_size: int, x: str) -> str:
        return f"{name}@{in_size}({x})"

    def global_pool(self, op: GlobalPool, name: str, in_size: int, x: str) -> str:
        return f"{name}@{in_size}({x})"

    def linear(self, op: Linear, name: str, in_size: int, x: str) -> str:
        return f"{name}@{in_size}({x})"

    def add(self, activation: Activation, name: str, x: str, skip: str) -> str:
        return f"{name}+{activation}({x}, {skip})"


DOWN = Layer(
    kind="bottleneck",
    in_channels=4,
    in_size=8,
    ops=(Conv(role="spatial", in_channels=4, out_channels=6, kernel=3, stride=2),),
    residual=True,
    shortcut=(
        Pool(role="skip_pool", channels=4, kind="average", kernel=2, stride=2),
        Conv(role="skip", in_channels=4, out_channels=6),
    ),
    activation="relu",
)
SAME = Layer(
    kind="mbconv",
    in_channels=6,
    in_size=4,
    ops=(SqueezeExcite(role="se", channels=6, mid_channels=2),),
    residual=True,
)
TAIL = Layer(
    kind="tail",
    in_channels=6,
    in_size=4,
    ops=(GlobalPool(role="pool", channels=6), Linear(role="classifier", in_channels=6, out_channels=2)),
)
NETWORK = [("a", DOWN), ("b", SAME), ("c", TAIL)]


def test_every_operator_is_visited_with_its_name_size_and_input() -> None:
    down = "a/add+relu(a/spatial@8(x), a/skip@4(a/skip_pool@8(x)))"
    same = f"b/add+(b/se@4({down}), {down})"
    assert walk(NETWORK, Words(), "x") == f"c/classifier@1(c/pool@4({same}))"
    assert walk([], Words(), "x") == "x"


def test_names_of_operators_and_tensors() -> None:
    names = [name for name, _ in named_operators(NETWORK)]
    assert names == ["a/spatial", "a/skip_pool", "a/skip", "b/se", "c/pool", "c/classifier"]
    tensors = weight_tensors(NETWORK)
    assert list(tensors) == [
        *("a/spatial.weight", "a/spatial.bias", "a/skip.weight", "a/skip.bias"),
        *("b/se.reduce.weight", "b/se.reduce.bias", "b/se.expand.weight", "b/se.expand.bias"),
        *("c/classifier.weight", "c/classifier.bias"),
    ]
    assert tensors["a/spatial.weight"] == TensorSpec(shape=(6, 4, 3, 3), type="float32")
    assert weight_shapes(NETWORK)["c/classifier.weight"] == (2, 6, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Separable(PlainOperator):
    """An operator that another package might bring: made of two that there are."""

    role: str
    in_channels: int
    out_channels: int
    stride: int = 1

    @property
    def key(self) -> str:
        return f"separable{self.out_channels}"

    @property
    def convs(self) -> tuple[Conv, ...]:
        depth = {"in_channels": self.in_channels, "out_channels": self.in_channels}
        return (
            Conv(role="depth", kernel=3, depthwise=True, **depth),
            Conv(role="point", in_channels=self.in_channels, out_channels=self.out_channels),
        )

    def visit(self, visitor: Visitor[V], name: str, in_size: int, x: V) -> V:
        for conv in self.convs:
            x = conv.visit(visitor, f"{name}.{conv.role}", in_size, x)
        return x


def test_an_operator_of_somebody_elses() -> None:
    op = Separable(role="s", in_channels=4, out_channels=6)
    layer = Layer(kind="block", in_channels=4, in_size=8, ops=(op,))
    assert walk([("a", layer)], Words(), "x") == "a/s.point@8(a/s.depth@8(x))"
    assert (layer.key, layer.kernel, layer.middle_channels) == ("block-in8x8x4-separable6", 3, 4)
