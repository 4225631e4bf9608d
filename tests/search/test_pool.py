"""Pools of a few rows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from deploy_nas.core.space import IntArray, Space
from deploy_nas.search.operators import Variation
from deploy_nas.search.pool import Pool
from deploy_nas.search.problem import Problem


def pool_of(keys: list[int], accuracy: list[float]) -> Pool:
    """Rows that hold their key."""
    numbers = np.array(keys, dtype=np.int64)
    return Pool(rows=numbers[:, None], keys=numbers, accuracy=np.array(accuracy))


def test_best_first_and_ties_by_key() -> None:
    pool = pool_of([5, 3, 9, 1], [1.0, 2.0, 2.0, 0.5])
    assert pool.best_accuracy == 2.0 and len(pool) == 4
    best = pool.best(3)
    assert best.keys.tolist() == [3, 9, 5] and best.rows[:, 0].tolist() == [3, 9, 5]
    assert best.accuracy.tolist() == [2.0, 2.0, 1.0]
    assert len(pool.best(10)) == 4


def test_merged_keeps_the_first_of_equal_rows() -> None:
    merged = pool_of([5, 3], [1.0, 2.0]).merged(pool_of([3, 8], [7.0, 4.0]))
    assert merged.keys.tolist() == [5, 3, 8]
    assert merged.accuracy.tolist() == [1.0, 2.0, 4.0]
    assert pool_of([1], [0.0]).merged(pool_of([2], [1.0])).keys.tolist() == [1, 2]


def test_of_predicts_the_rows(toy: Space, toy_all: IntArray, fakes: SimpleNamespace) -> None:
    accuracy = fakes.Accuracy(toy)
    problem = Problem(
        Variation(toy), lambda rows: {"a": np.ones(len(rows))}, accuracy.predict_encoded, {"a": 2}
    )
    pool = Pool.of(problem, toy_all[:7])
    np.testing.assert_array_equal(pool.keys, problem.vary.keys(toy_all[:7]))
    np.testing.assert_allclose(pool.accuracy, accuracy.predict_encoded(toy_all[:7]))
    assert problem.evaluations == 7
    assert pool.take(np.array([2, 0])).rows.tolist() == toy_all[[2, 0]].tolist()
    assert pool.best_accuracy == pytest.approx(pool.accuracy.max())
