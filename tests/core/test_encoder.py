from __future__ import annotations

import copy

import numpy as np
import pytest

from deploy_nas.core.encoder import ArchEncoder, gene_groups, redraw_genes, redraw_image_sizes
from deploy_nas.core.errors import ArchitectureError, OptionError
from deploy_nas.core.layers import Conv, Layer
from deploy_nas.core.space import Gene, Slot, Space
from deploy_nas.core.spaces import get_space


@pytest.fixture(scope="module")
def space() -> Space:
    return get_space("ofa-mbv3-w1.0")


def with_width(key: str) -> Space:
    """One convolution, its kernel a choice, and a width that every slot depends on."""

    def build(image_size: int, kernel: int, width: int = 0) -> Layer:
        conv = Conv(role="conv", in_channels=3, out_channels=8 * (1 + width), kernel=kernel)
        return Layer(kind="stem", in_channels=3, in_size=image_size, ops=(conv,))

    return Space(
        id="one-conv",
        summary="for tests",
        supernet={},
        image_sizes=(8, 16),
        profile_image_sizes=(8,),
        classes=2,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        genes=(
            Gene(key="ks", index=0, choices=(3, 5, 7)),
            Gene(key="ks", index=1, choices=(3, 5, 7)),
            Gene(key=key, index=0, choices=(0, 1, 2)),
        ),
        slots=(
            Slot(name="a", genes=(0, 2), build=build),
            Slot(name="b", genes=(1, 2), build=build),
        ),
    )


def test_a_blocks_choices_are_one_group(space: Space) -> None:
    groups = gene_groups(space)
    columns = {key: np.array(c) - 1 for key, c in space.gene_columns.items()}
    np.testing.assert_array_equal(groups[columns["ks"]], groups[columns["e"]])
    assert len(set(groups)) == 25  # 20 blocks and 5 depths
    assert not set(groups[columns["d"]]) & set(groups[columns["ks"]])


def test_genes_of_one_group_are_redrawn_together(rng: np.random.Generator) -> None:
    # so many choices that a redraw is seen
    encoded, counts = np.zeros((200, 5), dtype=np.int64), np.full(4, 10**6)
    changed = redraw_genes(encoded, rng, 0.5, counts=counts, groups=np.array([0, 1, 0, 2])) > 0
    assert not changed[:, 0].any()
    np.testing.assert_array_equal(changed[:, 1], changed[:, 3])
    assert 0.3 < (changed[:, 1] != changed[:, 2]).mean() < 0.7
    assert 0.4 < changed[:, 1:].mean() < 0.6
    assert not encoded.any()


def test_only_the_genes_named_change(rng: np.random.Generator) -> None:
    encoded, counts = np.zeros((50, 4), dtype=np.int64), np.full(3, 10**6)
    changed = redraw_genes(encoded, rng, 1.0, counts=counts, groups=np.array([0, 0, 1]), genes=[1]) > 0
    np.testing.assert_array_equal(changed.all(axis=0), [False, False, True, False])
    np.testing.assert_array_equal(changed.any(axis=0), [False, False, True, False])


def test_image_sizes_are_redrawn_from_those_allowed(rng: np.random.Generator) -> None:
    encoded = np.zeros((300, 3), dtype=np.int64)
    redrawn = redraw_image_sizes(encoded, rng, 0.5, allowed=np.array([2, 4]))
    assert set(redrawn[:, 0]) == {0, 2, 4} and not redrawn[:, 1:].any()
    assert 0.4 < (redrawn[:, 0] > 0).mean() < 0.6


def test_random_architectures_are_of_the_space(space: Space) -> None:
    encoder = ArchEncoder(space, 0)
    drawn = [encoder.random_sample_arch() for _ in range(50)]
    for architecture in drawn:
        space.validate(architecture)
    assert {a["image_size"] for a in drawn} == set(space.profile_image_sizes)
    assert encoder.image_sizes == space.profile_image_sizes


def test_same_seed_same_draws(space: Space) -> None:
    a, b = ArchEncoder(space, 4), ArchEncoder(space, np.random.default_rng(4))
    for _ in range(3):
        one, other = a.random_sample_arch(), b.random_sample_arch()
        assert one == other
        assert a.mutate_arch(one, 0.3) == b.mutate_arch(other, 0.3)
    assert ArchEncoder(space, 5).random_sample_arch() != ArchEncoder(space, 4).random_sample_arch()


def test_mutations_change_the_dict_and_return_it(space: Space) -> None:
    encoder = ArchEncoder(space, 0, image_sizes=(160, 224))
    architecture = space.smallest(160)
    assert encoder.mutate_arch(architecture, 1.0) is architecture
    assert architecture != space.smallest(160) and architecture["image_size"] == 160
    before = copy.deepcopy(architecture)
    sizes = set()
    for _ in range(20):
        assert encoder.mutate_resolution(architecture, 1.0) is architecture
        sizes.add(architecture["image_size"])
    assert sizes == {160, 224}
    assert {**architecture, "image_size": 160} == before
    for mutate in (encoder.mutate_arch, encoder.mutate_resolution, encoder.mutate_width):
        kept = copy.deepcopy(architecture)
        assert mutate(architecture, 0.0) == kept


def test_keys_of_others_are_left_alone(space: Space) -> None:
    architecture = {**space.smallest(), "wid": None}
    assert ArchEncoder(space).mutate_arch(architecture, 1.0)["wid"] is None


def test_no_widths_nothing_to_mutate(space: Space) -> None:
    architecture = space.largest()
    assert ArchEncoder(space).mutate_width(architecture, 1.0) == space.largest()


@pytest.mark.parametrize(("key", "with_the_rest"), [("wid", False), ("w", True)])
def test_widths(key: str, with_the_rest: bool) -> None:
    space = with_width(key)
    encoder = ArchEncoder(space, 0)
    seen, kernels = set(), set()
    for _ in range(30):
        architecture = encoder.mutate_width(space.smallest(8), 1.0)
        seen.add(architecture[key][0])
        kernels.add(tuple(architecture["ks"]))
    assert seen == {0, 1, 2} and kernels == {(3, 3)}
    mutants = [encoder.mutate_arch(space.smallest(8), 1.0) for _ in range(30)]
    assert len({tuple(m["ks"]) for m in mutants}) > 3
    assert ({m[key][0] for m in mutants} == {0, 1, 2}) is with_the_rest


def test_faults(space: Space) -> None:
    with pytest.raises(ArchitectureError, match="image_size"):
        ArchEncoder(space, image_sizes=(225,))
    with pytest.raises(OptionError, match="image_sizes"):
        ArchEncoder(space, image_sizes=())
    with pytest.raises(ArchitectureError, match="ks"):
        ArchEncoder(space).mutate_arch({**space.smallest(), "ks": [3]}, 0.1)


def test_a_sample_of_the_tutorial_keeps_its_keys() -> None:
    space = get_space("ofa-mbv3-w1.2")
    encoder = ArchEncoder(space, 0)
    sample = {"wid": None, **space.smallest(160), "r": [160]}
    del sample["image_size"]
    encoder.mutate_resolution(sample, 1.0)
    encoder.mutate_arch(sample, 1.0)
    assert set(sample) == {"wid", "ks", "e", "d", "r"} and sample["r"][0] in space.profile_image_sizes
    space.validate(sample)
    both = {**space.smallest(160), "r": [160]}
    encoder.mutate_resolution(both, 1.0)
    encoder.mutate_arch(both, 1.0)
    assert both["r"] == [both["image_size"]]
