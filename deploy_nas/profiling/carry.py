"""Carries latency tables over to another device, runtime, number of threads or precision.

A new table is a regression of a few networks' times, as in ``profiling.fit``, whose prior is not the layers
timed alone but the table of another profile, times a common scale. Layers differ from that scale by what they
are: by kind, kernel, stride, squeeze and activation, by their weights, images and multiplications, and each
by a little of its own. How much each of these may differ is chosen by the evidence. Several tables are
combined twice: as features beside each other, and as alternatives, weighted by their evidence.

Each network is predicted by the regression of the others, in closed form: that validates the table.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.layers import Layer
from deploy_nas.core.space import FloatArray, IntArray
from deploy_nas.profiling.regression import Posterior, Problem, Spread, regress

NETWORKS = 20
_LEAST_SHARE = 0.1  # of a row of the prior: no row may take less
_SCALE_SD = 0.3  # of the share of each table
_COMMON_SD = (0.03, 0.1, 0.3)  # per layer, byte and multiplication, of the mean row
_KIND_SD = (0.02, 0.06, 0.15)  # of a row
_OFFSET_SD = (0.01, 0.05)  # of a network, per image size; five times as much for all sizes together
_ROW_SD = (0.01, 0.03, 0.06, 0.12, 0.25)
_NOISE_SD = (0.004, 0.008, 0.015, 0.03)
_OTHER_COMMON_SD = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class PriorTables:
    """Tables of other profiles: ``row_ms`` ``[tables, rows]``, ``offset_ms`` ``[tables, sizes]``."""

    row_ms: FloatArray
    offset_ms: FloatArray

    def of(self, chosen: Sequence[int]) -> PriorTables:
        """Some of the tables."""
        return PriorTables(row_ms=self.row_ms[list(chosen)], offset_ms=self.offset_ms[list(chosen)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """``counts`` of the rows ``[networks, rows]``, and the index of each network's image size."""

    counts: FloatArray
    size_index: IntArray

    def predicted_ms(self, tables: PriorTables) -> FloatArray:
        """By each table, ``[tables, networks]``."""
        values: FloatArray = tables.row_ms @ self.counts.T + tables.offset_ms[:, self.size_index]
        return values


@dataclass(frozen=True, kw_only=True, slots=True)
class CarriedTable:
    """``left_out_ms``: each network as predicted by the others; ``shares``: what comes from each table."""

    row_ms: FloatArray
    offset_ms: FloatArray
    left_out_ms: FloatArray
    shares: FloatArray


def _kinds(layer: Layer) -> list[bool]:
    """Properties of a layer that may matter to how fast a device runs it."""
    depthwise = [conv.kernel for conv in layer.convs if conv.depthwise]
    return [
        layer.kind == "stem",
        layer.kind == "tail",
        5 in depthwise,
        7 in depthwise,
        bool(layer.squeezes),
        any(conv.activation == "hard_swish" for conv in layer.convs),
        any(conv.stride == 2 for conv in layer.convs),
    ]


class _Design:
    """Features of the rows, which add up to those of networks: tables, common terms, kinds, offsets."""

    def __init__(self, layers: Sequence[Layer], tables: PriorTables) -> None:
        self.base_ms: FloatArray = tables.row_ms.mean(axis=0)
        common = np.array(
            [
                [
                    1.0,
                    layer.params,
                    layer.in_channels * layer.in_size**2 + layer.out_channels * layer.out_size**2,
                    layer.macs,
                ]
                for layer in layers
            ]
        )
        common = float(self.base_ms.mean()) * common / np.maximum(common.mean(axis=0), 1e-9)
        kinds = np.array([_kinds(layer) for layer in layers], dtype=float) * self.base_ms[:, None]
        self.rows: FloatArray = np.concatenate([tables.row_ms.T, common, kinds], axis=1)
        self.tables, self.common, self.kinds = len(tables.row_ms), common.shape[1], kinds.shape[1]
        self.sizes = tables.offset_ms.shape[1]

    @property
    def mean(self) -> FloatArray:
        """Prior mean: the tables in equal parts."""
        others = self.common + self.kinds + 1 + self.sizes
        return np.concatenate([np.full(self.tables, 1.0 / self.tables), np.zeros(others)])

    def sd(self, common: float, kind: float, offset: float, typical_ms: float) -> FloatArray:
        """Prior standard deviations; those of the offsets are shares of a typical network."""
        parts = [_SCALE_SD] * self.tables + [common] * self.common + [kind] * self.kinds
        return np.array([*parts, _OTHER_COMMON_SD * typical_ms, *[offset * typical_ms] * self.sizes])

    def linear(self, networks: Networks, held: NDArray[np.bool_]) -> FloatArray:
        """Features of networks, without those of the rows that are held."""
        at_size = np.eye(self.sizes)[networks.size_index]
        one = np.ones((len(at_size), 1))
        return np.concatenate([networks.counts @ (self.rows * ~held[:, None]), one, at_size], axis=1)


def choose_networks(
    layers: Sequence[Layer], tables: PriorTables, networks: Networks, count: int = NETWORKS
) -> list[int]:
    """Indices of the networks that tell most of the others, ascending.

    Each is the one that most reduces the sum of the variances of all networks' relative errors under the
    prior (greedy A-optimal design).
    """
    predicted = networks.predicted_ms(tables).mean(axis=0)
    design = _Design(layers, tables)
    sd = design.sd(_COMMON_SD[1], _KIND_SD[1], 0.03, float(np.median(predicted)))
    linear = design.linear(networks, np.zeros(len(layers), dtype=bool))
    rows = networks.counts * design.base_ms
    covariance = (linear * sd**2) @ linear.T + _ROW_SD[2] ** 2 * rows @ rows.T
    covariance /= np.outer(predicted, predicted)
    noise = _NOISE_SD[1] ** 2
    chosen: list[int] = []
    for _ in range(min(count, len(predicted))):
        gain = (covariance**2).sum(axis=0) / (np.diag(covariance) + noise)
        gain[chosen] = -1.0
        best = int(np.argmax(gain))
        chosen.append(best)
        column = covariance[:, best].copy()
        covariance -= np.outer(column, column) / (column[best] + noise)
    return sorted(chosen)


def carry_table(
    layers: Sequence[Layer],
    tables: PriorTables,
    networks: Networks,
    measured_ms: FloatArray,
    doubts: FloatArray | None = None,
) -> CarriedTable:
    """The table that a few networks' times make of other tables.

    Args:
        layers: the rows.
        tables: of other profiles.
        networks: that were timed.
        measured_ms: their latencies.
        doubts: how much noisier than the best each latency is, from 1, ``[networks]``; ``None``: all alike.
    """
    noise_ms = measured_ms if doubts is None else doubts * measured_ms
    count = len(tables.row_ms)
    scale = np.exp(np.median(np.log(measured_ms / networks.predicted_ms(tables)), axis=1))
    scaled = PriorTables(
        row_ms=tables.row_ms * scale[:, None],
        offset_ms=tables.offset_ms * scale[:, None],
    )
    which = [(k,) for k in range(count)] + ([tuple(range(count))] if count > 1 else [])
    fitted = [_fit(layers, scaled.of(chosen), networks, measured_ms, noise_ms) for chosen in which]
    evidence = np.array([one.evidence for _, one in fitted])
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()
    shares = np.zeros(count)
    for weight, chosen, (_, found) in zip(weights, which, fitted, strict=True):
        shares[list(chosen)] += weight * np.maximum(found.coefficients[: len(chosen)], 0.0)

    def mixed(values: Sequence[FloatArray]) -> FloatArray:
        total: FloatArray = weights @ np.stack(values)
        return total

    return CarriedTable(
        row_ms=mixed([table.row_ms[0] for table, _ in fitted]),
        offset_ms=mixed([table.offset_ms[0] for table, _ in fitted]),
        left_out_ms=measured_ms - mixed([one.left_out_ms for _, one in fitted]),
        shares=shares / max(float(shares.sum()), 1e-9),
    )


def _fit(
    layers: Sequence[Layer],
    tables: PriorTables,
    networks: Networks,
    measured_ms: FloatArray,
    noise_ms: FloatArray,
) -> tuple[PriorTables, Posterior]:
    """One table from tables at the networks' scale; a row below its least share is held there."""
    design = _Design(layers, tables)
    offset_ms = tables.offset_ms.mean(axis=0)
    least_ms = _LEAST_SHARE * design.base_ms
    held = np.zeros(len(layers), dtype=bool)
    typical_ms = float(np.median(measured_ms))
    while True:
        free_ms = np.where(held, 0.0, design.base_ms)
        held_ms = networks.counts @ np.where(held, least_ms, 0.0)
        problem = Problem(
            linear=design.linear(networks, held),
            mean=design.mean,
            departures=networks.counts * free_ms,
            times_ms=measured_ms - offset_ms[networks.size_index] - held_ms,
            noise_ms=noise_ms,
        )
        found = regress(problem, _spreads(design, typical_ms))
        of_rows, one, of_sizes = np.split(
            found.coefficients, [design.rows.shape[1], design.rows.shape[1] + 1]
        )
        row_ms = design.rows @ of_rows + free_ms * found.departures
        low = ~held & (row_ms < least_ms)
        held |= low
        if not low.any():
            row_ms = np.where(held, least_ms, row_ms)
            return PriorTables(row_ms=row_ms[None], offset_ms=(offset_ms + one + of_sizes)[None]), found


def _spreads(design: _Design, typical_ms: float) -> Iterator[Spread]:
    for common, kind, offset in itertools.product(_COMMON_SD, _KIND_SD, _OFFSET_SD):
        sd = design.sd(common, kind, offset, typical_ms)
        for row_sd, noise_sd in itertools.product(_ROW_SD, _NOISE_SD):
            yield Spread(coefficients=sd, row_sd=row_sd, noise_sd=noise_sd)
