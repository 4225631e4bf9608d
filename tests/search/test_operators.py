from __future__ import annotations

import numpy as np

from deploy_nas.core.space import IntArray, Space
from deploy_nas.search.operators import Variation, crossover


def test_crossover_takes_each_value_from_either(rng: np.random.Generator) -> None:
    a, b = np.array([[0, 1, 2], [0, 0, 0]]), np.array([[5, 6, 7], [0, 0, 0]])
    children = np.concatenate([crossover(a, b, rng) for _ in range(50)])
    assert set(map(tuple, children[::2])) == {(x, y, z) for x in (0, 5) for y in (1, 6) for z in (2, 7)}
    assert not children[1::2].any()
    np.testing.assert_array_equal(a, [[0, 1, 2], [0, 0, 0]])


def test_mutation_by_its_probabilities(toy: Space, rng: np.random.Generator) -> None:
    vary = Variation(toy)
    parents = vary.sample(rng, 400)
    kept = parents.copy()
    np.testing.assert_array_equal(vary.mutate(parents, rng, 0.0, 0.0), parents)
    only_size = vary.mutate(parents, rng, 0.0, 1.0)
    np.testing.assert_array_equal(only_size[:, 1:], parents[:, 1:])
    assert 0.4 < (only_size[:, 0] != parents[:, 0]).mean() < 0.6  # two sizes, the old one included
    only_genes = vary.mutate(parents, rng, 1.0, 0.0)
    np.testing.assert_array_equal(only_genes[:, 0], parents[:, 0])
    assert 0.4 < (only_genes[:, 1:] != parents[:, 1:]).mean() < 0.6
    np.testing.assert_array_equal(parents, kept)


def test_image_sizes_are_kept_to(real: Space, rng: np.random.Generator) -> None:
    vary = Variation(real, (24, 32))
    rows = vary.mutate(vary.sample(rng, 200), rng, 0.1, 1.0)
    assert {real.image_sizes[int(i)] for i in rows[:, 0]} == {24, 32}
    assert [real.image_sizes[int(i)] for i in vary.smallest()[:, 0]] == [24, 32]
    assert set(vary.neighbours(rows[:3])[:, 0]) <= set(real.image_size_indices((24, 32)))


def test_neighbours_are_all_single_changes(toy: Space) -> None:
    vary = Variation(toy)
    smallest = vary.smallest()[:1]  # 16 px, all blocks but the first of each stage absent
    found = {tuple(int(v) for v in row) for row in vary.neighbours(smallest)}
    expected = []
    for change in ({0: 1}, {9: 1}, {10: 1}):  # image size, two depths
        expected.append(change)
    for block in (0, 2):  # of the two blocks present: ks, e, or both
        expected += [{1 + block: 1}, {5 + block: 1}, {1 + block: 1, 5 + block: 1}]
    rows = []
    for change in expected:
        row = [0] * 11
        for column, value in change.items():
            row[column] = value
        rows.append(tuple(row))
    assert found == set(rows)


def test_neighbours_of_several_are_distinct_and_new(toy: Space, toy_all: IntArray) -> None:
    vary = Variation(toy)
    rows = toy_all[:5]
    near = vary.neighbours(rows)
    assert len(np.unique(near, axis=0)) == len(near)
    assert not set(map(tuple, near)) & set(map(tuple, rows))
    np.testing.assert_array_equal(toy.canonical(near), near)


def test_keys_tell_rows_apart(toy: Space, toy_all: IntArray) -> None:
    vary = Variation(toy)
    assert len(np.unique(vary.keys(toy_all))) == len(toy_all)
    np.testing.assert_array_equal(vary.keys(toy_all[[3, 3]]), vary.keys(toy_all[3:4]).repeat(2))
    np.testing.assert_array_equal(vary.keys(toy_all), Variation(toy).keys(toy_all))


def test_fresh_keeps_the_first_of_each() -> None:
    keys, taken = np.array([4, 7, 4, 9, 7, 1]), np.array([9])
    np.testing.assert_array_equal(Variation.first_seen(keys, taken), [0, 1, 5])
    np.testing.assert_array_equal(Variation.first_seen(keys, keys), [])
