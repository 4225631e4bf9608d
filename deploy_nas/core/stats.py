"""Statistics, each with its definition."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Before any is known, a change of speed from one check to the next is expected to be about this much, with
# the weight of so many checks.
_EXPECTED_DRIFT = 0.015
_EXPECTED_DEGREES = 2


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


def upper_ratio(ratios: ArrayLike, confidence: float, drifts: Sequence[float] = ()) -> float:
    """Split-conformal bound of ``measured / predicted``.

    The ``ceil((n + 1) * confidence)``-th smallest of ``n`` held-out ratios: a new ratio is at most this
    with probability ``confidence`` (Vovk et al. 2005; Lei et al., JASA 2018). Where ``n`` is too small for
    the confidence, the largest ratio plus the standard deviation of the ratios.

    Args:
        ratios: of networks, without what is common to all of them.
        confidence: that the bound is kept.
        drifts: factors by which the device's speed changed from one check to the next. The ratios are then
            multiplied by what the next change may be: Student's distribution, as it follows for the logarithm
            of a normal factor of unknown spread, of which 1.5 percent are expected beforehand.
    """
    x = np.asarray(ratios, dtype=np.float64)
    widened = float(x.max() + x.std())
    if len(drifts):
        degrees = _EXPECTED_DEGREES + len(drifts)
        square = _EXPECTED_DEGREES * _EXPECTED_DRIFT**2 + float((np.log(drifts) ** 2).sum())
        next_drifts = np.exp(math.sqrt(square / degrees) * _student_quantiles(degrees))
        widened *= float(next_drifts[-1])
        rank = math.ceil((len(x) + 1) * confidence * len(next_drifts) - 1e-9)
        x = np.outer(x, next_drifts).ravel()
    else:
        rank = math.ceil((len(x) + 1) * confidence)
    x = np.sort(x)
    return float(x[rank - 1]) if rank <= len(x) else widened


def _student_quantiles(degrees: int, count: int = 101) -> NDArray[np.float64]:
    """The middles of ``count`` parts of equal probability of Student's distribution."""
    x = np.sinh(np.linspace(-8.0, 8.0, 8001))
    density = (1.0 + x**2 / degrees) ** (-(degrees + 1) / 2)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))])
    quantiles: NDArray[np.float64] = np.interp((np.arange(count) + 0.5) / count, below / below[-1], x)
    return quantiles


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
