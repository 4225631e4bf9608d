"""Padding and strides, worked out by hand."""

from __future__ import annotations

import pytest

from deploy_nas.core.layers import Conv
from deploy_nas.core.operator_base import strided, tensorflow_pads


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
