"""Profiles from tables with OFA's keys; tests/workflows/test_import_tables.py has OFA's own tables."""

import math

import numpy as np
import pytest

from deploy_nas.core.errors import MismatchError
from deploy_nas.core.families.stages import mbconv
from deploy_nas.core.layers import Conv, GlobalPool, Layer, Linear
from deploy_nas.core.spaces import get_space
from deploy_nas.profiling.imported import FORMAT, could_hold, imported_profile, missing_keys, ofa_keys

SPACE = get_space("ofa-mbv3-cifar10")
SIZES = SPACE.image_sizes[:2]


@pytest.fixture
def tables():
    """Every key of the space at two sizes, each with its own time."""
    made = {}
    for size in SIZES:
        index = int(SPACE.image_size_indices([size])[0])
        rows = [
            row for row, held in zip(SPACE.rows, SPACE.row_sizes(), strict=True) if int(held) >> index & 1
        ]
        keys = sorted({key for row in rows for key in ofa_keys(row)})
        made[size] = {key: (0.1 + 0.01 * i, 0.02, 5 + i) for i, key in enumerate(keys)}
    return made


def block(activation):
    return mbconv(
        in_channels=24,
        mid_channels=96,
        out_channels=40,
        in_size=28,
        kernel=5,
        stride=2,
        activation=activation,
        squeeze=activation == "hard_swish",
        residual=False,
    )


def test_keys_of_blocks_are_those_of_their_family():
    shapes = "expanded_conv-input:28x28x24-output:14x14x40"
    (mobilenet,) = ofa_keys(block("hard_swish"))
    assert mobilenet == f"{shapes}-expand:96-kernel:5-stride:2-idskip:0-se:1-hs:1"
    (proxyless,) = ofa_keys(block("relu6"))
    assert proxyless == f"{shapes}-expand:4-kernel:5-stride:2-idskip:0"


def test_a_tail_has_the_keys_of_its_parts():
    wide = Conv(role="wide", in_channels=32, out_channels=64)
    pool = GlobalPool(role="pool", channels=64)
    mix = Conv(role="mix", in_channels=64, out_channels=128, norm=False)
    short = Layer(
        kind="tail",
        in_channels=32,
        in_size=7,
        ops=(wide, pool, Linear(role="classifier", in_channels=64, out_channels=10)),
    )
    long = Layer(
        kind="tail",
        in_channels=32,
        in_size=7,
        ops=(wide, pool, mix, Linear(role="classifier", in_channels=128, out_channels=10)),
    )
    first = "Conv_1-input:7x7x32-output:7x7x64"
    assert ofa_keys(short) == (first, "Logits-input:7x7x64-output:10")
    assert ofa_keys(long) == (
        first,
        "AvgPool2D-input:7x7x64-output:1x1x64",
        "Conv_2-input:1x1x64-output:1x1x128",
        "Logits-input:1x1x128-output:10",
    )


def test_layers_without_a_depthwise_convolution_have_no_key():
    resnet = get_space("ofa-resnet50")
    assert any(ofa_keys(row) is None for row in resnet.rows)
    size = resnet.image_sizes[0]
    assert not could_hold(resnet, {size: {}})
    assert missing_keys(resnet, {size: {}})[-1].startswith("OFA's tables have no key for layers such as ")


def test_tables_of_other_sizes_or_without_a_key_are_incomplete(tables):
    assert could_hold(SPACE, tables) and missing_keys(SPACE, tables) == []
    assert not could_hold(SPACE, {17: {}})
    assert missing_keys(SPACE, {17: {}}) == [f"{SPACE.id} has no image size 17"]
    lost = next(iter(tables[SIZES[1]]))
    del tables[SIZES[1]][lost]
    assert could_hold(SPACE, tables)
    assert set(missing_keys(SPACE, tables)) == {f"table of {SIZES[1]} px: no key {lost}"}
    with pytest.raises(MismatchError, match=f"tables of phone: table of {SIZES[1]} px: no key {lost}"):
        imported_profile(SPACE, tables, device="phone", created="", files={})


def test_a_prediction_is_the_sum_of_the_entries(tables, rng):
    profile = imported_profile(SPACE, tables, device="phone", created="2026-01-01", files={"a": "0" * 64})
    assert profile.imported.format == FORMAT and profile.imported.files == {"a": "0" * 64}
    assert profile.fingerprint.cpu == "phone" and not profile.validated
    encoded = SPACE.sample_encoded(rng, 20, SIZES)
    expected = [
        math.fsum(
            tables[architecture["image_size"]][key][0]
            for _, layer in SPACE.layers(architecture)
            for key in ofa_keys(layer)
        )
        for architecture in SPACE.decode(encoded)
    ]
    np.testing.assert_allclose(profile.latency_ms(encoded), expected, rtol=1e-9)


def test_a_row_of_several_entries_adds_their_variances(tables):
    profile = imported_profile(SPACE, tables, device="phone", created="", files={})
    tail = next(row for row in SPACE.rows if len(ofa_keys(row)) == 4)
    size = next(size for size in SIZES if ofa_keys(tail)[0] in tables[size])
    row = next(r for r in profile.rows if (r.key, r.image_size) == (tail.key, size))
    parts = [tables[size][key] for key in ofa_keys(tail)]
    assert row.latency_ms == pytest.approx(sum(part[0] for part in parts))
    assert row.spread_percent == pytest.approx(100 * 0.04 / row.latency_ms, abs=0.01)
    assert row.runs == min(part[2] for part in parts)
