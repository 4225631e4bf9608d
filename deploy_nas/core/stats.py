"""Statistics, each with its definition."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 1, ties sharing their mean, float64 ``[n]``."""
    x = np.asarray(values, dtype=np.float64)
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank: NDArray[np.float64] = last - (counts - 1) / 2.0
    return mean_rank[inverse]


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rank correlation; NaN for fewer than two values, or where one side is constant."""
    x, y = ranks(a), ranks(b)
    if len(x) < 2 or x.std() == 0 or y.std() == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def relative_errors(predicted: ArrayLike, measured: ArrayLike) -> NDArray[np.float64]:
    """``predicted / measured - 1``, float64 ``[n]``."""
    return np.asarray(predicted, dtype=np.float64) / np.asarray(measured, dtype=np.float64) - 1.0


def upper_ratio(ratios: ArrayLike, confidence: float) -> float:
    """Split-conformal bound of ``measured / predicted``.

    The ``ceil((n + 1) * confidence)``-th smallest of ``n`` held-out ratios: a new ratio is at most this
    with probability ``confidence`` (Vovk et al. 2005; Lei et al., JASA 2018). Where ``n`` is too small for
    the confidence, the largest ratio plus the standard deviation of the ratios.
    """
    x = np.sort(np.asarray(ratios, dtype=np.float64))
    rank = math.ceil((len(x) + 1) * confidence)
    if rank <= len(x):
        return float(x[rank - 1])
    return float(x[-1] + x.std())
