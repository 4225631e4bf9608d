"""What the families share, by hand; and that the spaces stay what files and profiles say of them."""

from __future__ import annotations

import hashlib
import json

import pytest

from deploy_nas.core.families.stages import block_gate, block_name, block_places, mbconv, reduced
from deploy_nas.core.spaces import get_space

# Of the rows' keys, of genes and of slots. Profiles, architectures and predictors that ship are written in
# these terms: a change makes them unreadable.
WRITTEN = {
    "ofa-mbv3-cifar10": ("ec68332d0853", "f7ca5c6d3a70", "305e1e3b6cc2"),
    "ofa-mbv3-w1.0": ("69ba3769e303", "782808daeaaf", "305e1e3b6cc2"),
    "ofa-mbv3-w1.2": ("4b697e39eea2", "782808daeaaf", "305e1e3b6cc2"),
    "ofa-proxyless-w1.3": ("8e1c2143c610", "2200ceeeae9b", "f2d072c78ec3"),
    "ofa-resnet50": ("62bbb8cdf47b", "32818e6e7c4f", "4389998970de"),
    "mcunet-vww": ("14f2315fec16", "338328528006", "bec9279c975c"),
    "efficientnet-lite0": ("85c00909c692", "89bb1a31674c", "c8b9bff9b2d3"),
    "efficientnet-lite1": ("4192580155a9", "475d48adc4a3", "4f8f5b416318"),
    "efficientnet-lite2": ("bb300a7689c5", "475d48adc4a3", "4f8f5b416318"),
}


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]


@pytest.mark.parametrize("id", WRITTEN)
def test_rows_genes_and_slots_stay(id: str) -> None:
    space = get_space(id)
    found = (
        digest([layer.key for layer in space.rows]),
        digest([[g.key, g.index, g.choices, g.gate, g.same] for g in space.genes]),
        digest([[slot.name, slot.genes] for slot in space.slots]),
    )
    assert found == WRITTEN[id]


def test_places_and_names() -> None:
    assert block_places([2, 1]) == [(0, 0), (0, 1), (1, 0)]
    assert block_name(1, 0) == "stage2.block1"


@pytest.mark.parametrize(
    ("depths", "position", "base", "gate"),
    [
        ((2, 3, 4), 0, 0, None),
        ((2, 3, 4), 1, 0, None),
        ((2, 3, 4), 2, 0, (7, 1)),
        ((2, 3, 4), 3, 0, (7, 2)),
        ((0, 1, 2), 0, 1, None),
        ((0, 1, 2), 2, 1, (7, 2)),
    ],
)
def test_a_block_has_the_first_depth_that_reaches_it(
    depths: tuple[int, ...], position: int, base: int, gate: tuple[int, int] | None
) -> None:
    assert block_gate(7, depths, position, base) == gate


@pytest.mark.parametrize(
    ("size", "strides", "out"), [(224, (2, 2, 2), 28), (7, (2,), 4), (9, (), 9), (5, (1, 2), 3)]
)
def test_sizes_after_strides(size: int, strides: tuple[int, ...], out: int) -> None:
    assert reduced(size, strides) == out


@pytest.mark.parametrize(("middle", "expected"), [(None, 16), (5, 5)])
def test_an_inverted_bottleneck(middle: int | None, expected: int) -> None:
    layer = mbconv(
        in_channels=16,
        mid_channels=64,
        out_channels=24,
        in_size=14,
        kernel=5,
        stride=2,
        activation="relu",
        squeeze=True,
        residual=False,
        squeeze_channels=middle,
    )
    assert layer.key == f"mbconv-in14x14x16-conv1s1o64+relu-dw5s2o64+relu-se{expected}-conv1s1o24"
