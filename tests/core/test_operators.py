"""Numbers of every operator, worked out by hand, and the method of a visitor that each calls."""

from __future__ import annotations

import pytest

from deploy_nas.core.operator_base import Operator
from deploy_nas.core.operators import Conv, GlobalPool, Linear, Pool, SqueezeExcite
from deploy_nas.core.tensors import TensorSpec

OPERATORS: list[tuple[Operator, str, int, int, dict[str, tuple[int, ...]]]] = [
    (
        Conv(role="a", in_channels=4, out_channels=8, kernel=3, stride=2, activation="relu"),
        "conv3s2o8+relu",
        288 * 9,
        288 + 16,
        {"weight": (8, 4, 3, 3), "bias": (8,)},
    ),
    (
        Conv(role="a", in_channels=8, out_channels=8, kernel=5, depthwise=True, norm=False),
        "dw5s1o8",
        200 * 9,
        200,
        {"weight": (8, 1, 5, 5)},
    ),
    (
        SqueezeExcite(role="a", channels=8, mid_channels=2),
        "se2",
        32,
        42,
        {
            "reduce.weight": (2, 8, 1, 1),
            "reduce.bias": (2,),
            "expand.weight": (8, 2, 1, 1),
            "expand.bias": (8,),
        },
    ),
    (Pool(role="a", channels=8, kind="max", kernel=3, stride=2), "maxpool3s2", 0, 0, {}),
    (GlobalPool(role="a", channels=8), "pool", 0, 0, {}),
    (
        Linear(role="a", in_channels=8, out_channels=3),
        "linear3",
        24,
        27,
        {"weight": (3, 8, 1, 1), "bias": (3,)},
    ),
]


@pytest.mark.parametrize(("op", "key", "macs", "params", "shapes"), OPERATORS)
def test_an_operators_numbers(
    op: Operator, key: str, macs: int, params: int, shapes: dict[str, tuple[int, ...]]
) -> None:
    assert (op.key, op.macs(3), op.params) == (key, macs, params)
    assert op.tensors == {name: TensorSpec(shape=shape) for name, shape in shapes.items()}
    assert list(op.tensors) == list(shapes)


@pytest.mark.parametrize(("size", "stride", "out"), [(7, 2, 4), (8, 2, 4), (1, 2, 1), (5, 1, 5)])
def test_same_padding(size: int, stride: int, out: int) -> None:
    assert Conv(role="c", in_channels=1, out_channels=1, kernel=3, stride=stride).out_size(size) == out


class Recorder:
    """Notes which of its methods is called."""

    def conv(self, op: Conv, name: str, in_size: int, x: str) -> str:
        return f"conv({name}, {in_size}, {x})"

    def squeeze_excite(self, op: SqueezeExcite, name: str, in_size: int, x: str) -> str:
        return f"squeeze_excite({name}, {in_size}, {x})"

    def pool(self, op: Pool, name: str, in_size: int, x: str) -> str:
        return f"pool({name}, {in_size}, {x})"

    def global_pool(self, op: GlobalPool, name: str, in_size: int, x: str) -> str:
        return f"global_pool({name}, {in_size}, {x})"

    def linear(self, op: Linear, name: str, in_size: int, x: str) -> str:
        return f"linear({name}, {in_size}, {x})"


@pytest.mark.parametrize(
    ("operator", "method"),
    [
        (given[0], method)
        for given, method in zip(
            OPERATORS, ["conv", "conv", "squeeze_excite", "pool", "global_pool", "linear"], strict=True
        )
    ],
)
def test_an_operator_calls_its_method(operator: Operator, method: str) -> None:
    assert operator.visit(Recorder(), "s/a", 7, "x") == f"{method}(s/a, 7, x)"


def test_kinds_of_operator() -> None:
    conv, depthwise, squeeze, pool, mean, linear = (given[0] for given in OPERATORS)
    assert [op.counts_for_peak for op in (conv, squeeze, pool, mean, linear)] == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert [op.flat for op in (conv, mean, linear)] == [False, False, True]
    assert conv.spatial and depthwise.spatial and not Conv(role="a", in_channels=1, out_channels=1).spatial
    assert conv.convs == (conv,) and squeeze.convs == () and squeeze.squeezes
    assert [op.out_size(7) for op in (conv, squeeze, pool, mean, linear)] == [4, 7, 4, 1, 1]
    assert (squeeze.in_channels, squeeze.out_channels, squeeze.stride) == (8, 8, 1)
