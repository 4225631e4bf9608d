"""The subnets that a predictor ranks best: searches end there, and there its errors are largest.

A search selects for high accuracy and for overestimates alike, so the predictions of its winners are biased
upwards however small the errors are elsewhere (Smith and Winkler, The optimizer's curse, 2006). Random
draws hardly ever come near these subnets, so some of them are measured and added to the training data.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from deploy_nas.accuracy.encoding import total_figure
from deploy_nas.core.errors import OptionError
from deploy_nas.core.space import FloatArray, IntArray, Space

Percent = Callable[[IntArray], FloatArray]

_BATCH = 64
# Range of the price of a factor of e in MACs, relative to its mean gain from the smallest to the largest
# subnet.
_PRICES = (0.05, 4.0)
_ATTEMPTS = 8


def plan_best(
    space: Space, percent: Percent, count: int, rng: np.random.Generator, known: IntArray | None = None
) -> IntArray:
    """Subnets that are best by ``percent``, each for a random image size and price of MACs.

    Args:
        space: the search space.
        percent: accuracy in percent of encoded rows, ``[n, 1 + genes]`` to ``[n]``.
        count: number of subnets.
        rng: source of all randomness.
        known: rows to leave out, int64 ``[n, 1 + genes]``.

    Returns:
        int64 ``[count, 1 + genes]``, canonical and distinct.

    Raises:
        OptionError: count below 1, or more than were found.
    """
    if count < 1:
        raise OptionError(f"must be at least 1, is {count}", subject="count")
    left_out = space.canonical(known) if known is not None else space.encode([])
    found = left_out = distinct(left_out)
    for _ in range(_ATTEMPTS):
        found = distinct(np.concatenate([found, climb(space, percent, count, rng)]))
        if len(found) >= len(left_out) + count:
            return found[len(left_out) :][:count]
    raise OptionError(
        f"found only {len(found) - len(left_out)} further best subnets, {count} were asked for",
        subject="count",
    )


def climb(
    space: Space,
    percent: Percent,
    count: int,
    rng: np.random.Generator,
    visited: list[IntArray] | None = None,
) -> IntArray:
    """Steepest ascent from ``count`` random subnets, one gene per step, at a fixed image size.

    The objective is the accuracy minus the log MACs times a price drawn per subnet.

    Args:
        space: the search space.
        percent: accuracy in percent of encoded rows, ``[n, 1 + genes]`` to ``[n]``.
        count: number of ascents.
        rng: source of all randomness.
        visited: every batch of rows compared on the way is appended to it.

    Returns:
        The local optima, int64 ``[count, 1 + genes]``.
    """
    extremes = space.encode([space.smallest(), space.largest()])
    gain, factors = np.diff(percent(extremes))[0], np.diff(_log_macs(space, extremes))[0]
    gain_per_factor = max(float(gain), 1e-3) / max(float(factors), 1e-3)
    optima = []
    for start in range(0, count, _BATCH):
        current = space.canonical(space.sample_encoded(rng, min(_BATCH, count - start)))
        price = gain_per_factor * np.exp(
            rng.uniform(math.log(_PRICES[0]), math.log(_PRICES[1]), size=len(current))
        )
        best = np.full(len(current), -np.inf)
        improving = np.arange(len(current))
        while len(improving):
            rows = _neighbours(space, current[improving])
            flat = rows.reshape(-1, rows.shape[2])
            value = percent(flat).reshape(rows.shape[:2])
            value = value - price[improving, None] * _log_macs(space, flat).reshape(rows.shape[:2])
            if visited is not None:
                visited.append(flat)
            highest = value.argmax(axis=1)
            top = value.max(axis=1)
            better = top > best[improving] + 1e-9
            improving, highest, top = improving[better], highest[better], top[better]
            current[improving], best[improving] = rows[better, highest], top
        optima.append(current)
    return np.concatenate(optima)


def distinct(encoded: IntArray) -> IntArray:
    """The distinct rows, in order of their first occurrence."""
    _, first = np.unique(encoded, axis=0, return_index=True)
    return encoded[np.sort(first)]


def _log_macs(space: Space, encoded: IntArray) -> FloatArray:
    return np.log(total_figure(space, encoded, "macs"))


def _neighbours(space: Space, encoded: IntArray) -> IntArray:
    """Each row, then all that differ from it in one gene, canonical: ``[n, 1 + neighbours, 1 + genes]``."""
    steps = [
        (column, shift)
        for column, choices in enumerate(space.choice_counts)
        if column > 0  # the image size
        for shift in range(1, int(choices))
    ]
    rows = np.repeat(encoded[:, None], 1 + len(steps), axis=1)
    for number, (column, shift) in enumerate(steps, start=1):
        rows[:, number, column] = (rows[:, number, column] + shift) % int(space.choice_counts[column])
    return space.canonical(rows.reshape(-1, rows.shape[2])).reshape(rows.shape)
