"""What a search is asked: pricing, predicting and budgets as one value, and where to begin.

Pricing and accuracy are plain callables over encoded arrays; nothing here knows what stands behind them.
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

# rows worked on at once: what stays in a processor's cache keeps large populations linear
BLOCK = 8192
_MAX_DRAWS = 20_000
_MAX_DESCENT_STEPS = 200


class Problem:
    """A search's question; counts the accuracies asked for.

    Args:
        vary: operators of the space.
        efficiency: encoded ``[n, 1 + genes]`` to figures, name to ``[n]``.
        accuracy: encoded ``[n, 1 + genes]`` to predicted accuracy ``[n]``, higher is better.
        constraint: upper bounds by name; see :func:`parse_budgets` for what it raises.
    """

    def __init__(
        self, vary: Variation, efficiency: Efficiency, accuracy: Accuracy, constraint: object
    ) -> None:
        self.vary = vary
        self._efficiency = efficiency
        self._accuracy = accuracy
        self.budgets: Budgets = parse_budgets(constraint, self.figures(vary.smallest()[:1]))
        self.evaluations = 0
        self._downhill: IntArray | None = None

    def figures(self, rows: IntArray) -> dict[str, FloatArray]:
        """Name to float64 ``[n]``."""
        return {name: np.asarray(v, dtype=np.float64) for name, v in self._efficiency(rows).items()}

    def figure(self, name: str, rows: IntArray) -> FloatArray:
        """One of them, float64 ``[n]``."""
        return np.asarray(self._efficiency(rows)[name], dtype=np.float64)

    def excess(self, rows: IntArray) -> FloatArray:
        """Largest figure over budget, ``[n]``: at most 1 where all are met."""
        if not self.budgets:
            return np.zeros(len(rows))
        priced = self._efficiency(rows)  # of which only what is bounded need be worked out
        return excess(
            {name: np.asarray(priced[name], dtype=np.float64) for name in self.budgets}, self.budgets
        )

    def feasible(self, rows: IntArray) -> IntArray:
        """Those of ``rows`` that meet all budgets, in order."""
        return rows[self.excess(rows) <= 1] if self.budgets else rows

    def accuracy(self, rows: IntArray) -> FloatArray:
        """Predicted accuracy, ``[n]``; NaN counts as minus infinity.

        Raises:
            MismatchError: the predictor gave another number of values.
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
                f"gave {len(values)} values for {len(rows)} architectures", subject="accuracy predictor"
            )
        return values

    # -- where to begin ------------------------------------------------------------------------

    def begin(self, rng: np.random.Generator, count: int) -> IntArray:
        """Distinct canonical rows that meet the budgets, ``[1 to count, 1 + genes]``.

        Drawn at random, a bounded number of times; where that finds none, by descent (found once, kept).

        Raises:
            InfeasibleBudgetError: descent finds none either; names the budget that binds and the nearest.
        """
        if self._downhill is not None:
            return self._downhill[:count]
        vary, found = self.vary, np.empty((0, len(self.vary.space.choice_counts)), dtype=np.int64)
        drawn, size = 0, min(2 * count, BLOCK)
        while len(found) < count and drawn < max(_MAX_DRAWS, 4 * count):
            rows = vary.space.canonical(vary.sample(rng, size))
            drawn += size
            found = np.concatenate([found, vary.fresh(self.feasible(rows), vary.keys(found))])
            rate = max(len(found) / drawn, 1 / 16)
            size = min(max(int((count - len(found)) / rate), 64), BLOCK)
        if not len(found):
            self._downhill = found = self._descend_to_feasible()
        return found[:count]

    def _descend_to_feasible(self) -> IntArray:
        """One row or a few that meet the budgets, from the smallest of each image size downhill."""
        ends = np.concatenate([self._descend(row, self.excess) for row in self.vary.smallest()])
        over = self.excess(ends)
        if (over <= 1).any():
            return self.vary.fresh(ends[over <= 1], np.empty(0, dtype=np.int64))
        raise self._infeasible(ends[[int(np.argmin(over))]])

    def _infeasible(self, nearest: IntArray) -> InfeasibleBudgetError:
        """Which budget binds: one that cannot be met alone, else the worst of the nearest row."""
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
        """Steepest descent of ``measure``, the image size kept; ``[1, 1 + genes]``."""
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
