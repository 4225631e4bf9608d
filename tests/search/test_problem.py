"""The first population, and the error where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from deploy_nas.core.errors import InfeasibleBudgetError, MismatchError, OptionError
from deploy_nas.core.space import FloatArray, IntArray, Space
from deploy_nas.search.operators import Variation
from deploy_nas.search.problem import BLOCK, Problem


def choices(rows: IntArray) -> dict[str, FloatArray]:
    """``sum`` grows with every choice, ``rest`` falls."""
    total = rows.sum(axis=1).astype(float)
    return {"sum": 1 + total, "rest": 20 - total}


def problem(toy: Space, constraint: object) -> Problem:
    return Problem(Variation(toy), choices, lambda rows: rows.sum(axis=1), constraint)


def test_figures_excess_and_feasible_rows(toy: Space, toy_all: IntArray) -> None:
    one = problem(toy, {"sum": 5, "rest": 18})
    rows = toy_all[:50]
    figures = one.figures(rows)
    expected = np.maximum(figures["sum"] / 5, figures["rest"] / 18)
    np.testing.assert_allclose(one.excess(rows), expected)
    np.testing.assert_array_equal(one.feasible(rows), rows[expected <= 1])
    np.testing.assert_array_equal(one.figure("rest", rows), figures["rest"])
    free = problem(toy, {})
    assert free.excess(rows).tolist() == [0.0] * 50 and len(free.feasible(rows)) == 50


def test_an_unknown_figure_is_refused(toy: Space) -> None:
    with pytest.raises(OptionError, match="speed: unknown figure; known are sum, rest"):
        problem(toy, {"speed": 1})


def test_accuracies_are_counted_and_nan_is_last(toy: Space, toy_all: IntArray) -> None:
    asked = []

    def accuracy(rows: IntArray) -> FloatArray:
        asked.append(len(rows))
        return np.where(rows[:, 0] == 1, np.nan, 1.0)

    one = Problem(Variation(toy), choices, accuracy, {})
    rows = np.repeat(toy_all[:1], BLOCK + 3, axis=0)
    assert len(one.accuracy(rows)) == one.evaluations == BLOCK + 3 and asked == [BLOCK, 3]
    assert one.accuracy(np.where(toy_all[:2] >= 0, 1, 0)).tolist() == [-np.inf, -np.inf]
    assert len(one.accuracy(toy_all[:0])) == 0
    with pytest.raises(MismatchError, match="returned 1 values for 2 architectures"):
        Problem(Variation(toy), choices, lambda rows: [0.0], {}).accuracy(toy_all[:2])


def test_the_first_population_is_distinct_and_within_the_budgets(toy: Space) -> None:
    one = problem(toy, {"sum": 6})
    rows = one.begin(np.random.default_rng(0), 20)
    assert rows.shape == (20, 1 + len(toy.genes)) and (one.excess(rows) <= 1).all()
    assert len(np.unique(rows, axis=0)) == 20
    np.testing.assert_array_equal(rows, toy.canonical(rows))


def test_descent_where_no_draw_meets_the_budgets(toy: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy_nas.search.problem._MAX_DRAWS", 0)
    monkeypatch.setattr(Variation, "sample", lambda self, rng, count: toy.encode([toy.largest()] * count))
    one = problem(toy, {"sum": 1})
    rows = one.begin(np.random.default_rng(0), 5)
    assert rows.tolist() == toy.encode([toy.smallest()]).tolist()
    monkeypatch.setattr(Variation, "sample", None)  # what descent found is used again
    np.testing.assert_array_equal(one.begin(np.random.default_rng(0), 5), rows)


def test_the_error_names_the_binding_budget(toy: Space) -> None:
    with pytest.raises(InfeasibleBudgetError, match=r"sum: .* the lowest sum found is 1") as caught:
        problem(toy, {"sum": 0.5, "rest": 100}).begin(np.random.default_rng(0), 2)
    assert caught.value.nearest == 1.0
    with pytest.raises(InfeasibleBudgetError, match="not all at once"):
        problem(toy, {"sum": 3, "rest": 12}).begin(np.random.default_rng(0), 2)
