"""The contract every space keeps, and the faults every space names."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from deploy_nas.core.errors import ArchitectureError
from deploy_nas.core.layers import Layer
from deploy_nas.core.space import Space
from deploy_nas.core.spaces import get_space, space_ids


@pytest.fixture(params=space_ids())
def space(request: pytest.FixtureRequest) -> Space:
    return get_space(request.param)


def gated(space: Space) -> tuple[str, int]:
    """Key and index of a gene that may be absent."""
    gene = next(g for g in space.genes if g.gate is not None)
    return gene.key, gene.index


# -- the contract ------------------------------------------------------------------------------


def test_encode_and_decode_are_inverse(space: Space, rng: np.random.Generator) -> None:
    encoded = space.sample_encoded(rng, 200)
    architectures = space.decode(encoded)
    np.testing.assert_array_equal(space.encode(architectures), encoded)
    assert space.decode(space.encode(architectures)) == architectures
    assert all(type(v) is int for a in architectures for v in (a["image_size"], *a["d"]))


def test_no_architectures_encode_to_no_rows(space: Space) -> None:
    assert space.encode([]).shape == (0, len(space.genes) + 1)


def test_row_ids_are_the_layers_of_the_network(space: Space, rng: np.random.Generator) -> None:
    encoded = np.vstack(
        [space.sample_encoded(rng, 50), space.encode([space.smallest(), space.largest()])],
    )
    names = [slot.name for slot in space.slots]
    for ids, architecture in zip(space.row_ids(encoded), space.decode(encoded), strict=True):
        by_rows = [(name, space.rows[i].key) for name, i in zip(names, ids, strict=True) if i >= 0]
        assert by_rows == [(name, layer.key) for name, layer in space.layers(architecture)]


def test_layers_fit_each_other(space: Space, rng: np.random.Generator) -> None:
    for architecture in [space.smallest(), space.largest(), *(space.sample(rng) for _ in range(20))]:
        layers: list[Layer] = [layer for _, layer in space.layers(architecture)]
        assert (layers[0].in_channels, layers[0].in_size) == (3, architecture["image_size"])
        for before, after in itertools.pairwise(layers):
            assert (after.in_channels, after.in_size) == (before.out_channels, before.out_size)
        assert (layers[-1].out_channels, layers[-1].out_size) == (space.classes, 1)


def test_rows_are_distinct_and_know_their_sizes(space: Space, rng: np.random.Generator) -> None:
    assert len({layer.key for layer in space.rows}) == len(space.rows)
    masks = space.row_sizes()
    assert (masks > 0).all()
    encoded = space.sample_encoded(rng, 50)
    for row, ids in zip(encoded, space.row_ids(encoded), strict=True):
        assert all(masks[i] >> row[0] & 1 for i in ids if i >= 0)


def test_genes_that_do_not_matter_change_nothing(space: Space, rng: np.random.Generator) -> None:
    encoded = space.sample_encoded(rng, 100)
    canonical = space.canonical(encoded)
    assert (canonical != encoded).any()
    np.testing.assert_array_equal(space.row_ids(canonical), space.row_ids(encoded))
    np.testing.assert_array_equal(space.canonical(canonical), canonical)
    np.testing.assert_array_equal(space.active(canonical), space.active(encoded))


def test_genes_that_matter_change_a_row(space: Space) -> None:
    base = space.encode([space.largest()])
    assert space.active(base).all()
    for column in range(1, base.shape[1]):
        if space.choice_counts[column] == 1:
            continue
        other = base.copy()
        other[0, column] -= 1
        assert (space.row_ids(other) != space.row_ids(base)).any(), space.genes[column - 1]


def test_smallest_and_largest_are_the_ends(space: Space, rng: np.random.Generator) -> None:
    size = space.image_sizes[0]
    macs = np.array([layer.macs for layer in space.rows] + [0])
    ends = space.encode([space.smallest(), space.smallest(size), space.largest(size), space.largest()])
    smallest, same, _, largest = macs[space.row_ids(ends)].sum(axis=1)
    drawn = macs[space.row_ids(space.sample_encoded(rng, 200))].sum(axis=1)
    assert smallest == same <= drawn.min() <= drawn.max() <= largest
    with pytest.raises(ArchitectureError, match="image_size"):
        space.smallest(7)


def test_sampling_is_uniform_and_repeatable(space: Space) -> None:
    draw = space.sample_encoded(np.random.default_rng(1), 3000)
    np.testing.assert_array_equal(draw, space.sample_encoded(np.random.default_rng(1), 3000))
    for column, choices in enumerate(space.choice_counts):
        expected = len(draw) / choices
        counts = np.bincount(draw[:, column], minlength=choices)
        assert np.abs(counts - expected).max() < 5 * math.sqrt(expected)
    assert space.sample(np.random.default_rng(2)) == space.sample(np.random.default_rng(2))


def test_sampling_within_image_sizes(space: Space, rng: np.random.Generator) -> None:
    allowed = space.image_sizes[1:]
    drawn = space.decode(space.sample_encoded(rng, 50, allowed))
    assert {a["image_size"] for a in drawn} == set(allowed)
    with pytest.raises(ArchitectureError, match=r"image_size.*7"):
        space.sample_encoded(rng, 1, [7])


def test_size_counts_every_choice(space: Space) -> None:
    assert space.size == math.prod([len(space.image_sizes), *(len(g.choices) for g in space.genes)])


# -- what may be written otherwise -------------------------------------------------------------


def test_arrays_tuples_and_whole_floats_are_taken(space: Space, rng: np.random.Generator) -> None:
    plain = space.sample(rng)
    other: dict[str, Any] = {k: np.array(v) if isinstance(v, list) else float(v) for k, v in plain.items()}
    other["d"] = tuple(plain["d"])
    assert space.decode(space.encode([other])) == [plain]
    space.validate({**plain, "space": space.id, "predicted": {"latency_ms": 1.0}})


def test_zero_stands_for_an_absent_block_only(space: Space) -> None:
    key, index = gated(space)
    absent, present = space.smallest(), space.largest()
    absent[key][index] = present[key][index] = 0
    np.testing.assert_array_equal(space.encode([absent]), space.encode([space.smallest()]))
    with pytest.raises(ArchitectureError, match=rf"{key}\[{index}\].*is 0 though its block is present"):
        space.validate(present)


# -- faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [999, -1, math.nan, math.inf, True, False, "3", None, [3], {}, np.array([3])]
)
@pytest.mark.parametrize("key", ["ks", "e", "d"])
def test_a_wrong_choice_is_named(space: Space, key: str, value: object) -> None:
    if key not in space.gene_columns:  # a ResNet's kernels are no choice
        key = "w"
    for index in (0, 3):
        architecture = space.smallest()
        architecture[key][index] = value
        with pytest.raises(ArchitectureError) as caught:
            space.validate(architecture)
        assert caught.value.subject == f"{key}[{index}]"
        assert "must be one of" in str(caught.value)


@pytest.mark.parametrize("value", [999, math.nan, True, "224", None, [224]])
def test_a_wrong_image_size_is_named(space: Space, value: object) -> None:
    with pytest.raises(ArchitectureError, match=f"image_size: must be one of .*{space.image_sizes[0]}"):
        space.validate({**space.smallest(), "image_size": value})


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ([3], "1 values"),
        ([], "0 values"),
        (None, "missing"),
        (3, "3"),
        ("3" * 20, "'333"),
        (dict.fromkeys(range(20), 3), "{0: 3"),
        (np.array(3), "3"),
    ],
)
def test_a_wrong_list_is_named(space: Space, value: object, found: str) -> None:
    with pytest.raises(ArchitectureError, match=r"^e: must be a list of \d+ values, is ") as caught:
        space.validate({**space.smallest(), "e": value})
    assert f"is {found}" in str(caught.value)


def test_a_missing_key_is_named(space: Space) -> None:
    architecture = space.smallest()
    del architecture["e"]
    with pytest.raises(ArchitectureError, match=r"^e: .*missing"):
        space.validate(architecture)


def test_an_unknown_key_is_named(space: Space) -> None:
    keys = ", ".join(sorted(space.smallest()))
    with pytest.raises(ArchitectureError, match=rf"^depths: is not a key of .*; its keys are {keys}$"):
        space.validate({**space.smallest(), "depths": [2]})


def test_another_space_is_named(space: Space) -> None:
    with pytest.raises(ArchitectureError, match="of space 'elsewhere'"):
        space.validate({**space.smallest(), "space": "elsewhere"})


@pytest.mark.parametrize("value", [None, 3, "ks", [3], [("ks", 3)]])
def test_what_is_no_dict_is_named(space: Space, value: Any) -> None:
    with pytest.raises(ArchitectureError, match="an architecture is a dict, not"):
        space.validate(value)


def test_the_image_size_may_be_in_the_tutorials_key() -> None:
    space = get_space("ofa-mbv3-w1.2")
    ours = space.largest(192)
    sample = {"wid": None, **{key: value for key, value in ours.items() if key != "image_size"}}
    for size in ([192], (192,), 192, np.array([192])):
        assert np.array_equal(space.encode([{**sample, "r": size}]), space.encode([ours]))
    assert np.array_equal(space.encode([{**ours, "r": [192]}]), space.encode([ours]))
    with pytest.raises(ArchitectureError, match=r"r: is 160, and image_size is 192"):
        space.encode([{**ours, "r": [160]}])
    with pytest.raises(ArchitectureError, match=r"image_size: must be one of .*, is \[160, 192\]"):
        space.encode([{**sample, "r": [160, 192]}])
