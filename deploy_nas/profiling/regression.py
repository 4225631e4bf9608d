"""Bayesian linear regression (Bishop 2006, chapter 3) of networks' times on the rows of a latency table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from deploy_nas.core.space import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Networks' times, and what explains them.

    Args:
        linear: features of the networks, ``[networks, coefficients]``.
        mean: prior mean of the coefficients, ``[coefficients]``.
        departures: ms in each network that a departure of 1 of each row is worth, ``[networks, rows]``.
        times_ms: to be explained, ``[networks]``.
        noise_ms: what the noise is in proportion to, ``[networks]``.
    """

    linear: FloatArray
    mean: FloatArray
    departures: FloatArray
    times_ms: FloatArray
    noise_ms: FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Standard deviations of the prior: of each coefficient, of rows' departures, and of the noise."""

    coefficients: FloatArray
    row_sd: float
    noise_sd: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Posterior:
    """The estimate under the spread with the most evidence.

    ``left_out_ms`` are the errors (time minus prediction) that each network has if it is left out.
    """

    coefficients: FloatArray
    departures: FloatArray
    left_out_ms: FloatArray
    evidence: float
    spread: Spread


def regress(problem: Problem, spreads: Iterable[Spread]) -> Posterior:
    """The posterior mean under that of ``spreads`` which makes the times most likely."""
    residual = problem.times_ms - problem.linear @ problem.mean
    rows = problem.departures @ problem.departures.T
    best: tuple[float, Spread, FloatArray] | None = None
    for spread in spreads:
        shared = (problem.linear * spread.coefficients**2) @ problem.linear.T
        noise = np.diag((spread.noise_sd * problem.noise_ms) ** 2 + 1e-12)
        covariance = shared + spread.row_sd**2 * rows + noise
        factor: FloatArray = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
        white = np.linalg.solve(factor, residual)
        evidence = -0.5 * float(white @ white) - float(np.log(np.diag(factor)).sum())
        if best is None or evidence > best[0]:
            best = evidence, spread, factor
    if best is None:
        raise ValueError("no spread was given")
    evidence, spread, chosen = best
    inverse = np.linalg.inv(chosen)
    precision = inverse.T @ inverse
    weights = precision @ residual
    return Posterior(
        coefficients=problem.mean + spread.coefficients**2 * (problem.linear.T @ weights),
        departures=spread.row_sd**2 * (problem.departures.T @ weights),
        left_out_ms=weights / np.diag(precision),
        evidence=evidence,
        spread=spread,
    )
