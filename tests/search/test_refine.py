"""Refinement from a single row, on objectives whose optimum is known."""

from __future__ import annotations

import numpy as np
import pytest

from deploy_nas.core.space import FloatArray, IntArray, Space
from deploy_nas.search import refine as module
from deploy_nas.search.operators import Variation
from deploy_nas.search.pool import Pool
from deploy_nas.search.problem import Problem
from deploy_nas.search.refine import refine


def cost(rows: IntArray) -> dict[str, FloatArray]:
    """Kernel sizes of the first block of each stage cost as much as they gain."""
    return {"cost": 1.0 + rows[:, 1] + rows[:, 3]}


def worth(rows: IntArray) -> FloatArray:
    return rows[:, 1] + 2.0 * rows[:, 3] + 0.1 * rows[:, 0]


def start(toy: Space, changes: dict[int, int], budget: float) -> tuple[Problem, Pool]:
    row = toy.encode([toy.smallest()])
    for column, value in changes.items():
        row[0, column] = value
    problem = Problem(Variation(toy), cost, worth, {"cost": budget})
    return problem, Pool.of(problem, row)


def test_single_changes_climb_to_the_optimum(toy: Space) -> None:
    problem, pool = start(toy, {}, 3.0)
    refined = refine(problem, pool)
    assert refined.best_accuracy == pytest.approx(3.1)
    assert (problem.excess(refined.rows) <= 1).all()
    assert set(pool.keys) <= set(refined.keys)


def test_pairs_of_changes_trade_one_block_for_another(toy: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the budget only one block can be large, and the better one only if the other shrinks."""
    monkeypatch.setattr(module, "_BEAM", 1)
    problem, pool = start(toy, {0: 1, 1: 1}, 2.0)
    assert module._singles(problem, pool).best_accuracy == pytest.approx(1.1)
    assert module._pairs(problem, pool).best_accuracy == pytest.approx(2.1)
    assert refine(problem, pool).best_accuracy == pytest.approx(2.1)


def test_large_neighbourhoods_are_not_paired(toy: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_EDITS_FOR_PAIRS", 0)
    problem, pool = start(toy, {}, 3.0)
    assert module._pairs(problem, pool) is pool
    assert np.isfinite(refine(problem, pool).best_accuracy)
