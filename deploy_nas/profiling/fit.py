"""Fits the latency table: the time of each row inside networks, from rows alone and whole networks.

Layers timed alone do not add up to a network: alone, a layer's weights stay in a near cache and its input
arrives in another layout (docs/notes/latency.md has the figures). So the table is a Bayesian linear
regression (Bishop 2006, chapter 3) of whole networks on their rows. A row's prior is a linear combination of
its time alone, the bytes of its weights and images, and a constant. The whole networks determine the
coefficients, each row's departure from the combination, and an offset per image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.layers import Layer
from deploy_nas.core.space import FloatArray, IntArray
from deploy_nas.profiling.regression import Problem, Spread, regress

# Every layer costs at least this share of its time alone when it is inside a network.
_LEAST_SHARE = 0.1
# An offset may take back at most this share of the layers' times of the smallest network of its size.
_MOST_REFUND = 0.5
# Prior of the coefficients: of the time alone, ms per layer, ms/MB of weights, ms/MB of images.
_COEFFICIENT_SD = np.array([0.4, 0.01, 0.15, 0.15])
_COEFFICIENT_MEAN = np.array([1.0, 0.0, 0.0, 0.0])
_ROW_SD = (0.0, 0.02, 0.05, 0.1, 0.2)
_NOISE_SD = (0.003, 0.006, 0.012, 0.025)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """``row_ms`` and ``offset_ms`` in the order of the rows and sizes given; the prior spreads chosen."""

    row_ms: FloatArray
    offset_ms: FloatArray
    coefficients: FloatArray
    row_sd: float
    noise_sd: float


def row_features(layers: Sequence[Layer], alone_ms: FloatArray) -> FloatArray:
    """Time alone, 1, megabytes of weights, megabytes of input and output; float64 ``[rows, 4]``."""
    weights = np.array([4e-6 * layer.params for layer in layers])
    images = np.array(
        [
            4e-6 * (layer.in_channels * layer.in_size**2 + layer.out_channels * layer.out_size**2)
            for layer in layers
        ]
    )
    return np.stack([alone_ms, np.ones(len(layers)), weights, images], axis=1)


def count_rows(row_ids: IntArray, rows: Sequence[int]) -> FloatArray:
    """How often each of ``rows`` occurs in each network, float64 ``[networks, rows]``."""
    position = {number: i for i, number in enumerate(rows)}
    counts = np.zeros((len(row_ids), len(rows)))
    for network, ids in enumerate(row_ids):
        for number in ids[ids >= 0]:
            counts[network, position[int(number)]] += 1.0
    return counts


def fit_table(
    layers: Sequence[Layer],
    alone_ms: FloatArray,
    counts: FloatArray,
    size_index: IntArray,
    sizes: int,
    measured_ms: FloatArray,
    doubts: FloatArray | None = None,
) -> Table:
    """Fit the table.

    A row estimated below a tenth of its time alone is fixed at that tenth, and the rest is fitted again. If
    it were raised afterwards, every network with that row would be too long; for a stem, all networks of its
    image size. Where noise gives an image size an offset so far below zero that it would take back over half
    of the time of the smallest network, that size is fitted without one: a prediction is always above zero.

    Args:
        layers: the rows.
        alone_ms: each row timed alone, ``[rows]``.
        counts: how often each row occurs in each network, ``[networks, rows]``.
        size_index: image size of each network, ``[networks]``, in ``range(sizes)``.
        sizes: number of image sizes.
        measured_ms: latency of each network, ``[networks]``.
        doubts: how much noisier than the best each latency is, from 1, ``[networks]``; ``None``: all alike.
    """
    noise_ms = measured_ms if doubts is None else doubts * measured_ms
    features = row_features(layers, alone_ms)
    least_ms = _LEAST_SHARE * alone_ms
    held = np.zeros(len(layers), dtype=bool)
    at_size = np.zeros((len(measured_ms), sizes))
    at_size[np.arange(len(measured_ms)), size_index] = 1.0
    while True:
        free = np.where(held, 0.0, alone_ms)
        rest_ms = measured_ms - counts @ np.where(held, least_ms, 0.0)
        table = _regress(features * ~held[:, None], free, counts, at_size, rest_ms, measured_ms, noise_ms)
        low = ~held & (table.row_ms < least_ms)
        held |= low
        if low.any():
            continue
        table = replace(table, row_ms=np.where(held, least_ms, table.row_ms))
        deep = _takes_back_too_much(table, counts, at_size)
        if not deep.any():
            return table
        at_size[:, deep] = 0.0


def _takes_back_too_much(table: Table, counts: FloatArray, at_size: FloatArray) -> NDArray[np.bool_]:
    """Image sizes with an offset that takes back too much of their smallest network, bool ``[sizes]``."""
    layers_ms = counts @ table.row_ms
    smallest = np.array([layers_ms[of > 0].min(initial=np.inf) for of in at_size.T])
    deep: NDArray[np.bool_] = np.isfinite(smallest) & (table.offset_ms < -_MOST_REFUND * smallest)
    return deep


def _regress(
    features: FloatArray,
    alone_ms: FloatArray,
    counts: FloatArray,
    at_size: FloatArray,
    rest_ms: FloatArray,
    measured_ms: FloatArray,
    noise_ms: FloatArray,
) -> Table:
    """The regression of ``rest_ms`` on rows with these features; noise is proportional to ``noise_ms``.

    ``at_size``: 1 where a network is of an image size that has an offset, float64 ``[networks, sizes]``.
    """
    offset_sd = np.array(
        [0.1 * float(np.median(measured_ms[of > 0])) if of.any() else 1e-3 for of in at_size.T]
    )
    linear = np.concatenate([counts @ features, at_size], axis=1)
    prior_sd = np.concatenate([_COEFFICIENT_SD, offset_sd])
    prior_mean = np.concatenate([_COEFFICIENT_MEAN, np.zeros(at_size.shape[1])])
    problem = Problem(
        linear=linear,
        mean=prior_mean,
        departures=counts * alone_ms,
        times_ms=rest_ms,
        noise_ms=noise_ms,
    )
    found = regress(
        problem,
        (
            Spread(coefficients=prior_sd, row_sd=row_sd, noise_sd=noise_sd)
            for row_sd in _ROW_SD
            for noise_sd in _NOISE_SD
        ),
    )
    coefficients, offset = np.split(found.coefficients, [len(_COEFFICIENT_SD)])
    return Table(
        row_ms=features @ coefficients + alone_ms * found.departures,
        offset_ms=offset,
        coefficients=coefficients,
        row_sd=found.spread.row_sd,
        noise_sd=found.spread.noise_sd,
    )
