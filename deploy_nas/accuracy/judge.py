"""How good a predictor is: its figures on measured subnets that its training never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy_nas.accuracy.predictor import AccuracyPredictor
from deploy_nas.core.stats import rank_correlation
from deploy_nas.records.accuracy import AccuracyData


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOut:
    """Figures on subnets that training never saw.

    Args:
        mae_points: mean absolute error, in points of top-1.
        rank_correlation: Spearman's; 0 where it is undefined.
        pairs: (predicted, measured) in percent, a subnet.
        spread_points: standard deviation of the ensemble, a subnet; all 0 for one member.
    """

    mae_points: float
    rank_correlation: float
    pairs: tuple[tuple[float, float], ...]
    spread_points: tuple[float, ...]

    @property
    def errors_points(self) -> tuple[float, ...]:
        """Predicted less measured, a subnet."""
        return tuple(predicted - measured for predicted, measured in self.pairs)

    @property
    def spread_correlation(self) -> float | None:
        """Rank correlation of spread and absolute error, ``None`` for one member; 0 is a useless spread."""
        if not any(self.spread_points):
            return None
        found = rank_correlation(np.array(self.spread_points), np.abs(self.errors_points))
        return found if np.isfinite(found) else 0.0

    @property
    def within_two_spreads(self) -> float | None:
        """Share of subnets whose error is at most two spreads; ``None`` for one member.

        Of honest spreads and accuracies without noise 0.95; their noise makes it less.
        """
        if not any(self.spread_points):
            return None
        return float(np.mean(np.abs(self.errors_points) <= 2.0 * np.array(self.spread_points)))

    def to_json(self) -> dict[str, Any]:
        """For a file's metadata."""
        value: dict[str, Any] = {
            "subnets": len(self.pairs),
            "mae_points": round(self.mae_points, 4),
            "rank_correlation": round(self.rank_correlation, 5),
            "pairs": [[round(p, 3), round(m, 3)] for p, m in self.pairs],
        }
        if self.spread_correlation is not None and self.within_two_spreads is not None:
            value["spread_points"] = [round(s, 3) for s in self.spread_points]
            value["spread_correlation"] = round(self.spread_correlation, 4)
            value["within_two_spreads"] = round(self.within_two_spreads, 4)
        return value


def judge(
    predictor: AccuracyPredictor, data: AccuracyData, chosen: NDArray[np.bool_] | None = None
) -> HeldOut:
    """Figures of a predictor on measured subnets; ``chosen`` bool ``[n]``, ``None`` for all."""
    keep = np.ones(len(data), dtype=bool) if chosen is None else chosen
    measured = data.top1_percent[keep]
    predicted = predictor.percent_encoded(data.encoded[keep])
    correlation = rank_correlation(predicted, measured)
    scale = 100.0 if predictor.unit == "fraction" else 1.0
    return HeldOut(
        mae_points=float(np.abs(predicted - measured).mean()),
        rank_correlation=correlation if np.isfinite(correlation) else 0.0,
        pairs=tuple(zip(predicted.tolist(), measured.tolist(), strict=True)),
        spread_points=tuple((scale * predictor.spread_encoded(data.encoded[keep])).tolist()),
    )
