"""The problem a search solves: pricing, prediction and budgets as one value, and its first population.

Pricing and prediction are plain callables over encoded arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from deploy_nas.core.errors import InfeasibleBudgetError, MismatchError
from deploy_nas.core.space import FloatArray, IntArray
from deploy_nas.search.budgets import Budgets, excess, infeasible, parse_budgets
from deploy_nas.search.operators import Variation

Efficiency = Callable[[IntArray], Mapping[str, FloatArray]]
Accuracy = Callable[[IntArray], ArrayLike]

# Rows processed at once: blocks that fit a processor's cache keep large populations linear in time.
BLOCK = 8192
_MAX_DRAWS = 20_000
_MAX_DESCENT_STEPS = 200


class Problem:
    """Pricing, prediction and budgets of one search; counts the accuracies predicted.

    Args:
        vary: variation operators of the space.
        efficiency: encoded ``[n, 1 + genes]`` to figures, name to ``[n]``.
        accuracy: encoded ``[n, 1 + genes]`` to predicted accuracy ``[n]``, higher is better.
        constraint: upper bounds by name, or one number; see :func:`parse_budgets`.

    Raises:
        BudgetError, OptionError: see :func:`parse_budgets`.
    """

    def __init__(
        self, vary: Variation, efficiency: Efficiency, accuracy: Accuracy, constraint: object
    ) -> None:
        self.vary = vary
        self._efficiency = efficiency
        self._accuracy = accuracy
        self.budgets: Budgets = parse_budgets(constraint, self.figures(vary.smallest()[:1]))
        self.evaluations = 0
        self._descended: IntArray | None = None

    def figures(self, rows: IntArray) -> dict[str, FloatArray]:
        """All figures of ``rows``, name to float64 ``[n]``."""
        return {name: np.asarray(v, dtype=np.float64) for name, v in self._efficiency(rows).items()}

    def figure(self, name: str, rows: IntArray) -> FloatArray:
        """One figure of ``rows``, float64 ``[n]``."""
        return np.asarray(self._efficiency(rows)[name], dtype=np.float64)

    def excess(self, rows: IntArray) -> FloatArray:
        """Largest ratio of figure to budget, float64 ``[n]``: at most 1 where all budgets are met."""
        if not self.budgets:
            return np.zeros(len(rows))
        priced = self._efficiency(rows)  # may be lazy: only bounded figures are read
        return excess(
            {name: np.asarray(priced[name], dtype=np.float64) for name in self.budgets}, self.budgets
        )

    def feasible(self, rows: IntArray) -> IntArray:
        """The ``rows`` that meet all budgets, in order."""
        return rows[self.excess(rows) <= 1] if self.budgets else rows

    def accuracy(self, rows: IntArray) -> FloatArray:
        """Predicted accuracy, float64 ``[n]``; NaN counts as minus infinity.

        Raises:
            MismatchError: the predictor returned another number of values.
        """
        if not len(rows):
            return np.empty(0)
        values = np.concatenate(
            [self._block_accuracy(rows[i : i + BLOCK]) for i in range(0, len(rows), BLOCK)]
        )
        self.evaluations += len(rows)
        return np.where(np.isnan(values), -np.inf, values)

    def _block_accuracy(self, rows: IntArray) -> FloatArray:
        values = np.asarray(self._accuracy(rows), dtype=np.float64).reshape(-1)
        if len(values) != len(rows):
            raise MismatchError(
                f"returned {len(values)} values for {len(rows)} architectures", subject="accuracy predictor"
            )
        return values

    # -- first population ----------------------------------------------------------------------

    def begin(self, rng: np.random.Generator, count: int) -> IntArray:
        """Distinct canonical rows that meet the budgets, int64 ``[m, 1 + genes]``, ``m`` from 1 to ``count``.

        They are drawn at random, a bounded number of times; where no draw meets the budgets, descent from the
        smallest architectures finds the rows, which are then reused.

        Raises:
            InfeasibleBudgetError: descent fails too; names the binding budget and the nearest value found.
        """
        if self._descended is not None:
            return self._descended[:count]
        vary, found = self.vary, np.empty((0, len(self.vary.space.choice_counts)), dtype=np.int64)
        drawn, size = 0, min(2 * count, BLOCK)
        while len(found) < count and drawn < max(_MAX_DRAWS, 4 * count):
            rows = vary.space.canonical(vary.sample(rng, size))
            drawn += size
            found = np.concatenate([found, vary.fresh(self.feasible(rows), vary.keys(found))])
            kept_share = max(len(found) / drawn, 1 / 16)
            size = min(max(int((count - len(found)) / kept_share), 64), BLOCK)
        if not len(found):
            self._descended = found = self._descend_to_feasible()
        return found[:count]

    def _descend_to_feasible(self) -> IntArray:
        """At least one row that meets the budgets, by descent from each image size's smallest."""
        ends = np.concatenate([self._descend(row, self.excess) for row in self.vary.smallest()])
        over = self.excess(ends)
        if (over <= 1).any():
            return self.vary.fresh(ends[over <= 1], np.empty(0, dtype=np.int64))
        raise self._infeasible(ends[[int(np.argmin(over))]])

    def _infeasible(self, nearest: IntArray) -> InfeasibleBudgetError:
        """The error naming the binding budget: one that cannot be met alone, else the nearest row's worst."""
        least: dict[str, float] = {}
        for name in self.budgets:
            figure = partial(self.figure, name)
            ends = np.concatenate([self._descend(row, figure) for row in self.vary.smallest()])
            least[name] = float(figure(ends).min())
        if any(least[name] > bound for name, bound in self.budgets.items()):
            return infeasible(self.budgets, least, alone=True)
        return infeasible(
            self.budgets, {n: float(v[0]) for n, v in self.figures(nearest).items()}, alone=False
        )

    def _descend(self, row: IntArray, measure: Callable[[IntArray], FloatArray]) -> IntArray:
        """Steepest descent of ``measure`` at a fixed image size; int64 ``[1, 1 + genes]``."""
        row = self.vary.space.canonical(row)
        value = float(measure(row)[0])
        for _ in range(_MAX_DESCENT_STEPS):
            near = self.vary.neighbours(row)
            near = near[near[:, 0] == row[0, 0]]
            if not len(near):
                break
            values = measure(near)
            best = int(np.argmin(values))
            if not values[best] < value:
                break
            row, value = near[[best]], float(values[best])
        return row
