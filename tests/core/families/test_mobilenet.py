"""OFA's MobileNetV3, against figures of the paper's network (the ``ofa`` module itself: tests/adapters)."""

from __future__ import annotations

import numpy as np

from deploy_nas.core.spaces import get_space


def test_layers_of_the_largest_subnet() -> None:
    space = get_space("ofa-mbv3-w1.0")
    layers = dict(space.layers(space.largest(224)))
    assert len(layers) == 2 + 20 + 1
    assert layers["stem"].key == "stem-in224x224x3-conv3s2o16+hard_swish"
    assert layers["first"].key == "mbconv-in112x112x16-dw3s1o16+relu-conv1s1o16-add"
    expected = "mbconv-in56x56x24-conv1s1o144+relu-dw7s2o144+relu-se40-conv1s1o40"
    assert layers["stage2.block1"].key == expected
    assert (
        layers["tail"].key == "tail-in7x7x160-conv1s1o960+hard_swish-pool-conv1s1o1280+hard_swish-linear1000"
    )


def test_rows_of_one_image_size() -> None:
    """Ten distinct positions of nine choices, the stem, the first block and the tail."""
    space = get_space("ofa-mbv3-w1.0")
    masks = space.row_sizes()
    for index in range(len(space.image_sizes)):
        assert np.count_nonzero(masks >> index & 1) == 10 * 9 + 3


def test_width_follows_make_divisible() -> None:
    layers = dict(get_space("ofa-mbv3-w1.2").layers(get_space("ofa-mbv3-w1.2").largest(224)))
    widths = [layers[name].out_channels for name in ("stem", "first")]
    widths += [layers[f"stage{s}.block1"].out_channels for s in range(1, 6)]
    assert widths == [24, 24, 32, 48, 96, 136, 192]
