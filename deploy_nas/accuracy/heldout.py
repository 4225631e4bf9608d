"""The quality of a predictor: its figures on measured subnets that its training never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.fields import Fields
from deploy_nas.core.space import FloatArray
from deploy_nas.core.stats import rank_correlation
from deploy_nas.records.accuracy import AccuracyData

if TYPE_CHECKING:
    from deploy_nas.accuracy.predictor import AccuracyPredictor


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOut:
    """Figures on subnets that training never saw.

    Args:
        mae_points: mean absolute error, in points of top-1.
        rank_correlation: Spearman's; 0 where it is undefined.
        pairs: (predicted, measured) in percent, one pair per subnet.
        spread_points: standard deviation of the ensemble per subnet; all 0 for one member.
    """

    mae_points: float
    rank_correlation: float
    pairs: tuple[tuple[float, float], ...]
    spread_points: tuple[float, ...]

    @property
    def errors_points(self) -> tuple[float, ...]:
        """Predicted minus measured, per subnet."""
        return tuple(predicted - measured for predicted, measured in self.pairs)

    @property
    def spread_correlation(self) -> float | None:
        """Rank correlation of spread and absolute error; ``None`` for one member, 0 for a useless spread."""
        if not any(self.spread_points):
            return None
        found = rank_correlation(np.array(self.spread_points), np.abs(self.errors_points))
        return found if np.isfinite(found) else 0.0

    @property
    def within_two_spreads(self) -> float | None:
        """Share of subnets whose error is at most two spreads; ``None`` for one member.

        It is 0.95 for calibrated spreads and noiseless accuracies; noise lowers it.
        """
        if not any(self.spread_points):
            return None
        return float(np.mean(np.abs(self.errors_points) <= 2.0 * np.array(self.spread_points)))

    def to_json(self) -> dict[str, object]:
        """The object in files, rounded."""
        value: dict[str, object] = {
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

    @classmethod
    def from_json(cls, fields: Fields) -> HeldOut:
        """From a file's object; raises :class:`RecordError` naming the key."""
        pairs = []
        for index in range(len(fields.items("pairs"))):
            pair = fields.at("pairs", index)
            values = pair.numbers("value")
            if len(values) != 2:
                raise pair.wrong("value", "a pair of numbers")
            pairs.append((values[0], values[1]))
        spread = fields.numbers("spread_points") if fields.holds("spread_points") else [0.0] * len(pairs)
        if len(spread) != len(pairs):
            raise fields.wrong("spread_points", f"a list of {len(pairs)} numbers")
        return cls(
            mae_points=fields.number("mae_points"),
            rank_correlation=fields.number("rank_correlation"),
            pairs=tuple(pairs),
            spread_points=tuple(spread),
        )


def held_out_figures(
    predictor: AccuracyPredictor, data: AccuracyData, chosen: NDArray[np.bool_] | None = None
) -> HeldOut:
    """Figures of a predictor on measured subnets.

    Args:
        predictor: the predictor.
        data: ``n`` measured subnets of its space.
        chosen: the subnets to use, bool ``[n]``; ``None``: all.
    """
    keep = np.ones(len(data), dtype=bool) if chosen is None else chosen
    scale = 100.0 if predictor.unit == "fraction" else 1.0
    return held_out_of(
        predictor.percent_encoded(data.encoded[keep]),
        data.top1_percent[keep],
        scale * predictor.spread_encoded(data.encoded[keep]),
    )


def held_out_of(predicted: FloatArray, measured: FloatArray, spread_points: FloatArray) -> HeldOut:
    """Figures of predicted and measured top-1, in percent, and of the predictor's spread; float64 ``[n]``."""
    correlation = rank_correlation(predicted, measured)
    return HeldOut(
        mae_points=float(np.abs(predicted - measured).mean()),
        rank_correlation=correlation if np.isfinite(correlation) else 0.0,
        pairs=tuple(zip(predicted.tolist(), measured.tolist(), strict=True)),
        spread_points=tuple(spread_points.tolist()),
    )
