"""Populations as arrays: rows, keys and predicted accuracies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy_nas.core.space import FloatArray, IntArray
from deploy_nas.search.problem import Problem


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pool:
    """Distinct canonical rows ``[n, 1 + genes]`` with their keys ``[n]`` and accuracy ``[n]``."""

    rows: IntArray
    keys: IntArray
    accuracy: FloatArray

    @classmethod
    def of(cls, problem: Problem, rows: IntArray) -> Pool:
        """A pool of ``rows``, their accuracy predicted."""
        return cls(rows=rows, keys=problem.vary.keys(rows), accuracy=problem.accuracy(rows))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def best_accuracy(self) -> float:
        """Highest accuracy."""
        return float(self.accuracy.max())

    def best(self, count: int) -> Pool:
        """The ``count`` best, best first; ties in the order of their keys."""
        order = np.lexsort((self.keys, -self.accuracy))[:count]
        return self.take(order)

    def take(self, index: IntArray) -> Pool:
        """The rows at ``index``."""
        return Pool(rows=self.rows[index], keys=self.keys[index], accuracy=self.accuracy[index])

    def merged(self, other: Pool) -> Pool:
        """The rows of both; of equal rows the first."""
        keys = np.concatenate([self.keys, other.keys])
        _, index = np.unique(keys, return_index=True)
        both = Pool(
            rows=np.concatenate([self.rows, other.rows]),
            keys=keys,
            accuracy=np.concatenate([self.accuracy, other.accuracy]),
        )
        return both if len(index) == len(keys) else both.take(np.sort(index))
