"""ProxylessNAS and MCUNet by their figures (the modules themselves: tests/adapters)."""

from __future__ import annotations

import pytest

from deploy_nas.core.errors import ArchitectureError
from deploy_nas.core.spaces import get_space

VWW = get_space("mcunet-vww")


def test_mcunets_widths() -> None:
    """All but the feature mix scale, rounded to multiples of 8."""
    places = ["stem", "first", *(f"stage{s}.block1" for s in range(1, 7))]
    expected = {
        0: [16, 8, 16, 24, 40, 48, 96, 160],
        1: [24, 16, 24, 32, 64, 72, 144, 240],
        2: [32, 16, 24, 40, 80, 96, 192, 320],
    }
    for wid, widths in expected.items():
        layers = dict(VWW.layers(VWW.largest(96) | {"wid": wid}))
        assert [layers[place].out_channels for place in places] == widths
        assert layers["tail"].key == f"tail-in3x3x{widths[-1]}-conv1s1o384+relu6-pool-linear2"


def test_mcunets_squeeze_keeps_its_middle_channels() -> None:
    keys = [dict(VWW.layers(VWW.smallest(96) | {"wid": wid}))["stage3.block1"].key for wid in (0, 2)]
    assert keys == [
        "mbconv-in12x12x24-conv1s1o72+relu6-dw3s2o72+relu6-se10-conv1s1o40",
        "mbconv-in12x12x40-conv1s1o120+relu6-dw3s2o120+relu6-se10-conv1s1o80",
    ]


def test_mcunets_first_block_is_fused() -> None:
    assert dict(VWW.layers(VWW.largest(96)))["first"].key == "mbconv-in48x48x32-conv1s1o16"


def test_proxyless() -> None:
    space = get_space("ofa-proxyless-w1.3")
    layers = dict(space.layers(space.largest(224)))
    assert len(layers) == 2 + 21 + 1
    assert layers["first"].key == "mbconv-in112x112x40-dw3s1o40+relu6-conv1s1o24"
    assert layers["stage4.block1"].key == "mbconv-in14x14x104-conv1s1o624+relu6-dw7s1o624+relu6-conv1s1o128"
    assert layers["tail"].key == "tail-in7x7x416-conv1s1o1664+relu6-pool-linear1000"
    keys = {key: len(columns) for key, columns in space.gene_columns.items()}
    assert keys == {"ks": 21, "e": 21, "d": 6}


@pytest.mark.parametrize("wid", [3, -1, [0], None, True, "0"])
def test_a_width_that_is_not_offered_is_named(wid: object) -> None:
    with pytest.raises(ArchitectureError, match=r"^wid: must be one of \[0, 1, 2\]"):
        VWW.validate(VWW.smallest() | {"wid": wid})
