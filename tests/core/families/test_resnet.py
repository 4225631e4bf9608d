"""OFA's ResNet50 by its figures (the module itself: tests/adapters)."""

from __future__ import annotations

import numpy as np

from deploy_nas.core.spaces import get_space

SPACE = get_space("ofa-resnet50")


def test_layers_of_the_largest_subnet() -> None:
    layers = dict(SPACE.layers(SPACE.largest(224)))
    assert len(layers) == 3 + 18 + 1
    assert layers["stem.conv1"].key == "stem-in224x224x3-conv3s2o32+relu"
    assert layers["stem.block"].key == "stem-in112x112x32-conv3s1o32+relu-add"
    assert layers["stem.conv2"].key == "stem-in112x112x32-conv3s1o64+relu-maxpool3s2"
    expected = (
        "bottleneck-in56x56x256-conv1s1o176+relu-conv3s2o176+relu-conv1s1o512"
        "-skip-averagepool2s2-conv1s1o512-add+relu"
    )
    assert layers["stage2.block1"].key == expected
    assert layers["stage1.block1"].key.endswith("-skip-conv1s1o256-add+relu")
    assert layers["stage2.block2"].key.endswith("-conv1s1o512-add+relu")
    assert layers["tail"].key == "tail-in7x7x2048-pool-linear1000"


def test_what_the_shortcut_costs_is_counted() -> None:
    block = dict(SPACE.layers(SPACE.largest(128)))["stage2.block1"]
    before, after = 32 * 32, 16 * 16
    chain = 256 * 176 * before + 176 * 176 * 9 * after + 176 * 512 * after
    assert block.macs == chain + 256 * 512 * after
    weights = 256 * 176 + 176 * 176 * 9 + 176 * 512 + 256 * 512
    assert block.params == weights + 2 * (176 + 176 + 512 + 512)
    # the 3x3 convolution also holds the block's input
    assert block.peak_elements == (176 * before + 176 * after) + 256 * before


def test_the_stems_middle_convolution_may_be_left_out() -> None:
    names = [name for name, _ in SPACE.layers(SPACE.smallest(128))]
    assert names[:2] == ["stem.conv1", "stem.conv2"] and len(names) == 2 + 10 + 1


def test_rows_of_one_image_size() -> None:
    """A stage's first block depends on the width before it: its rows are counted, not guessed.

    Widths 0.65 and 0.8 round to the same stem channels, so its convolutions have two choices, not three.
    """
    masks = SPACE.row_sizes()
    stem, blocks, tail = 2 + 2 + 2 * 3, 4 * (3 * 3 * 3 + 3 * 3), 3
    for index in range(len(SPACE.image_sizes)):
        assert np.count_nonzero(masks >> index & 1) <= stem + blocks + tail
