"""Figures of small layers, worked out by hand."""

from __future__ import annotations

import pytest

from deploy_nas.core.layers import Conv, GlobalPool, Layer, Linear, Pool, SqueezeExcite, make_divisible

STEM = Layer(
    kind="stem",
    in_channels=3,
    in_size=32,
    ops=(Conv(role="conv", in_channels=3, out_channels=8, kernel=3, stride=2, activation="relu"),),
)
BLOCK = Layer(
    kind="mbconv",
    in_channels=4,
    in_size=6,
    ops=(
        Conv(role="expand", in_channels=4, out_channels=8),
        Conv(role="depthwise", in_channels=8, out_channels=8, kernel=3, depthwise=True),
        SqueezeExcite(role="se", channels=8, mid_channels=2),
        Conv(role="project", in_channels=8, out_channels=4),
    ),
    residual=True,
)
TAIL = Layer(
    kind="tail",
    in_channels=4,
    in_size=3,
    ops=(
        Conv(role="expand", in_channels=4, out_channels=8),
        GlobalPool(role="pool", channels=8),
        Conv(role="mix", in_channels=8, out_channels=6, norm=False),
        Linear(role="classifier", in_channels=6, out_channels=2),
    ),
)


def test_stem() -> None:
    assert STEM.sizes == (32, 16)
    assert STEM.macs == (8 * 3 * 3 * 3) * 16 * 16
    assert STEM.params == 8 * 3 * 3 * 3 + 2 * 8
    assert STEM.peak_elements == 3 * 32 * 32 + 8 * 16 * 16
    assert STEM.key == "stem-in32x32x3-conv3s2o8+relu"


def test_block_with_squeeze_and_shortcut() -> None:
    expand, depthwise, squeeze, project = 4 * 8 * 36, 8 * 9 * 36, 2 * 8 * 2, 8 * 4 * 36
    assert BLOCK.macs == expand + depthwise + squeeze + project == 4928
    assert BLOCK.params == (32 + 16) + (72 + 16) + (2 * 16 + 8 + 2) + (32 + 8) == 218
    assert BLOCK.peak_elements == (8 + 8) * 36 + 4 * 36  # the depthwise holds the shortcut as well
    assert BLOCK.key == "mbconv-in6x6x4-conv1s1o8-dw3s1o8-se2-conv1s1o4-add"
    assert (BLOCK.out_channels, BLOCK.out_size) == (4, 6)


def test_without_shortcut_the_input_is_let_go() -> None:
    alone = Layer(kind="mbconv", in_channels=4, in_size=6, ops=BLOCK.ops)
    assert alone.peak_elements == (8 + 8) * 36
    assert alone.key != BLOCK.key


def test_tail() -> None:
    assert TAIL.sizes == (3, 3, 1, 1, 1)
    assert TAIL.macs == 4 * 8 * 9 + 8 * 6 + 6 * 2
    assert TAIL.params == (32 + 16) + 48 + (12 + 2)
    assert TAIL.peak_elements == (4 + 8) * 9
    assert (TAIL.out_channels, TAIL.out_size) == (2, 1)


def test_what_a_block_looks_like() -> None:
    assert [conv.role for conv in BLOCK.convs] == ["expand", "depthwise", "project"]
    assert BLOCK.depthwise is BLOCK.ops[1]
    assert (BLOCK.kernel, BLOCK.middle_channels, BLOCK.squeezes, BLOCK.stride) == (3, 8, True, 1)
    assert not BLOCK.flat and TAIL.flat


def test_without_a_depthwise_convolution_the_largest_counts() -> None:
    ops = (
        Conv(role="a", in_channels=4, out_channels=8, kernel=3, stride=2),
        Conv(role="b", in_channels=8, out_channels=6),
        Pool(role="c", channels=6, kind="max", kernel=5, stride=2),
    )
    layer = Layer(kind="stem", in_channels=4, in_size=9, ops=ops)
    assert layer.depthwise is None
    assert (layer.kernel, layer.middle_channels, layer.squeezes, layer.stride) == (3, 8, False, 4)
    assert (layer.out_channels, layer.out_size) == (6, 3)
    pooled = Layer(kind="tail", in_channels=4, in_size=9, ops=(GlobalPool(role="pool", channels=4),))
    assert (pooled.kernel, pooled.middle_channels, pooled.stride) == (0, 0, 1)


@pytest.mark.parametrize(("value", "rounded"), [(1, 8), (11, 16), (12, 16), (19.2, 24), (32, 32), (36, 40)])
def test_make_divisible(value: float, rounded: int) -> None:
    assert make_divisible(value) == rounded
