"""Statistics, each with its definition."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def upper_ratio(runs: Sequence[Sequence[float]], confidence: float) -> float:
    """Split-conformal bound of ``measured / predicted``, from held-out ratios of one or more runs.

    Of one run, the ``ceil((n + 1) * confidence)``-th smallest of ``n`` ratios: a new ratio is at most this
    with probability ``confidence`` (Vovk et al. 2005; Lei et al., JASA 2018). Of several runs, the same
    quantile with equal weights for the runs, whatever their numbers of ratios: what differs between runs
    counts as much as what differs within one (Dunn et al., JASA 2022, pooled CDFs). Where ``n`` is too small
    for the confidence, the largest ratio plus the standard deviation of the ratios.
    """
    x = np.concatenate([np.asarray(run, dtype=np.float64) for run in runs])
    weight = np.concatenate([np.full(len(run), 1.0 / (len(runs) * len(run))) for run in runs])
    order = np.argsort(x, kind="stable")
    share = np.cumsum(weight[order]) * len(x) / (len(x) + 1)
    enough = share >= confidence - 1e-12
    if enough.any():
        return float(x[order][int(np.argmax(enough))])
    return float(x.max() + x.std())


def binomial_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a share: the shares that such a count does not contradict."""

    def tail(share: float, least: int) -> float:
        """Probability of at least ``least`` successes."""
        ways = (
            math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(least, trials + 1)
        )
        return math.fsum(ways)

    def solve(least: int, wanted: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(middle, least) < wanted else (low, middle)
        return (low + high) / 2

    alpha = 1.0 - confidence
    return (
        0.0 if successes == 0 else solve(successes, alpha / 2),
        1.0 if successes == trials else solve(successes + 1, 1 - alpha / 2),
    )
