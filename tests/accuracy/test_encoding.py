"""Feature layouts against slow ones written out by hand."""

import numpy as np
import pytest

from deploy_nas.accuracy.encoding import FeatureLayout, feature_layout, total_figure, tutorial_layout
from deploy_nas.core.errors import MismatchError
from deploy_nas.core.space import Gene, Space
from deploy_nas.core.spaces import get_space


def spelled_out(architecture: dict, choices: dict, image_sizes: list[int]) -> list[float]:
    """OFA's spec2feats, as its README describes it."""
    row = []
    for key in ("ks", "e"):
        for block, value in enumerate(architecture[key]):
            present = block % 4 < architecture["d"][block // 4]
            row += [1.0 if present and value == choice else 0.0 for choice in choices[key]]
    return row + [1.0 if architecture["image_size"] == size else 0.0 for size in image_sizes]


@pytest.mark.parametrize("id", ["ofa-mbv3-w1.0", "ofa-mbv3-w1.2"])
def test_tutorial_layout_is_ofas(id: str) -> None:
    space = get_space(id)
    encoded = space.sample_encoded(np.random.default_rng(0), 200)
    found = tutorial_layout(space).features(encoded)
    choices = {"ks": (3, 5, 7), "e": (3, 4, 6)}
    expected = [spelled_out(a, choices, list(range(112, 225, 16))) for a in space.decode(encoded)]
    assert found.shape == (200, 128) and found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_one_hot_layout_of_the_embedded_space(space: Space) -> None:
    encoded = space.sample_encoded(np.random.default_rng(0), 200)
    layout = feature_layout(space)
    choices = {"ks": space.genes[0].choices, "e": space.genes[20].choices}
    expected = [spelled_out(a, choices, list(space.image_sizes)) for a in space.decode(encoded)]
    np.testing.assert_array_equal(layout.features(encoded), expected)
    assert len(layout.columns) == len(expected[0])
    assert layout.columns[0] == f"ks[0]={space.genes[0].choices[0]}"
    assert layout.columns[-1] == f"image_size={space.image_sizes[-1]}"


def test_inactive_choices_do_not_matter(space: Space) -> None:
    encoded = space.sample_encoded(np.random.default_rng(1), 100)
    for name in ("one-hot", "one-hot+totals"):
        layout = feature_layout(space, name)
        np.testing.assert_array_equal(layout.features(encoded), layout.features(space.canonical(encoded)))


def test_totals_run_from_0_to_1(space: Space) -> None:
    layout = feature_layout(space, "one-hot+totals")
    ends = space.encode([space.smallest(), space.largest()])
    np.testing.assert_allclose(layout.features(ends)[:, -2:], [[0, 0], [1, 1]], atol=1e-6)
    drawn = layout.features(space.sample_encoded(np.random.default_rng(0), 500))
    assert drawn.min() >= 0.0 and drawn.max() <= 1.0
    assert layout.columns[-2:] == ("log_macs", "log_params")
    one = space.layers(space.largest())
    assert total_figure(space, ends, "macs")[1] == sum(layer.macs for _, layer in one)


def test_depths_that_gate_nothing_keep_their_columns() -> None:
    genes = (
        Gene(key="e", index=0, choices=(1, 2)),
        Gene(key="e", index=1, choices=(1, 2), gate=(2, 1)),
        Gene(key="d", index=0, choices=(0, 1)),
        Gene(key="d", index=1, choices=(0, 1, 2)),
        Gene(key="wid", index=0, choices=(0.5, 1.0)),
    )
    space = Space(
        id="tiny",
        summary="",
        supernet={},
        image_sizes=(8, 16),
        profile_image_sizes=(8,),
        classes=2,
        mean=(0.0,),
        std=(1.0,),
        genes=genes,
        slots=(),
    )
    layout = FeatureLayout(space=space)
    assert layout.columns == (
        *("e[0]=1", "e[0]=2", "e[1]=1", "e[1]=2"),
        *("d[1]=0", "d[1]=1", "d[1]=2", "wid[0]=0.5", "wid[0]=1.0", "image_size=8", "image_size=16"),
    )
    found = layout.features(np.array([[1, 0, 1, 0, 2, 1], [0, 1, 1, 1, 0, 0]]))
    np.testing.assert_array_equal(
        found, [[1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1], [0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0]]
    )


def test_layouts_that_do_not_fit(space: Space) -> None:
    with pytest.raises(MismatchError, match="is not for ofa-mbv3-cifar10"):
        tutorial_layout(space)
    with pytest.raises(MismatchError, match="unknown feature layout 'x'"):
        feature_layout(space, "x")
