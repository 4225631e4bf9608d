"""Re-basing a predictor on a few accuracies that the user measured.

A predictor's ranking is better than its values: OFA's published one was fitted to images held out of the
training set, and predicts several points more than validation images show. A few measured subnets correct
its scale; the ranking, and so the result of a search, is unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy_nas.accuracy.predictor import AccuracyPredictor
from deploy_nas.core.errors import OptionError
from deploy_nas.core.space import FloatArray, IntArray, Space
from deploy_nas.records.accuracy import load_accuracy_data
from deploy_nas.records.architecture import load_architecture

# Fewer subnets determine only a shift: a slope fitted to two or three would be their noise.
_LEAST_FOR_SLOPE = 5
_SLOPES = (0.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class AnchoredPredictor(AccuracyPredictor):
    """A predictor whose values in percent are mapped to ``slope * value + shift_percent``."""

    slope: float = 1.0
    shift_percent: float = 0.0

    def _members(self, encoded: IntArray) -> FloatArray:
        per_unit = 100.0 if self.unit == "fraction" else 1.0
        values: FloatArray = self.slope * super()._members(encoded) + self.shift_percent / per_unit
        return values


def load_anchors(space: Space, sources: Sequence[str]) -> tuple[IntArray, FloatArray]:
    """Measured subnets: encoded int64 ``[n, 1 + genes]`` and their top-1 in percent ``[n]``.

    Args:
        space: of the predictor.
        sources: each ``ARCHITECTURE.json=PERCENT``, or a file of ``deploy-nas accuracy collect``.

    Raises:
        OptionError: an invalid percentage, an architecture of another space, or no subnet at all; the
            subject is ``anchors``.
        RecordError: a file that cannot be read.
    """
    rows, top1 = [], []
    for source in sources:
        name, sign, text = source.rpartition("=")
        if sign and not Path(source).is_file():
            record = load_architecture(Path(name))
            _same(space, record.space, name)
            rows.append(space.encode([record.architecture]))
            top1.append(np.array([_percent(text, source)]))
        else:
            data = load_accuracy_data(Path(source))
            _same(space, data.header.space, source)
            rows.append(data.encoded)
            top1.append(data.top1_percent)
    encoded = np.concatenate(rows) if rows else space.encode([])
    if not len(encoded):
        raise OptionError("must name at least one measured subnet", subject="anchors")
    return encoded, np.concatenate(top1)


def _same(space: Space, other: Space, name: str) -> None:
    if other.id != space.id:
        raise OptionError(f"{name} is of {other.id}, the predictor of {space.id}", subject="anchors")


def _percent(text: str, source: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 < value <= 100:  # values up to 1 are fractions, the unit of published predictors
        raise OptionError(
            f"must be a top-1 in percent, is {source!r}", subject="anchors", hint="such as best.json=76.9"
        )
    return value


def anchored(predictor: AccuracyPredictor, encoded: IntArray, top1_percent: FloatArray) -> AnchoredPredictor:
    """The predictor on the scale of the measured subnets.

    Up to four subnets give a shift, the median difference; five or more that differ also give a slope, by
    least squares and limited to 0.5 to 2. The note of the result states the correction and the remaining
    error.

    Args:
        predictor: the predictor to correct.
        encoded: measured subnets, int64 ``[n, 1 + genes]``, at least one.
        top1_percent: their top-1, float64 ``[n]``.
    """
    predicted = predictor.percent_encoded(encoded)
    slope = 1.0
    if len(predicted) >= _LEAST_FOR_SLOPE and predicted.std() > 0:
        slope = float(np.clip(np.polyfit(predicted, top1_percent, 1)[0], *_SLOPES))
    shift = float(np.median(top1_percent - slope * predicted))
    remaining = float(np.abs(slope * predicted + shift - top1_percent).mean())
    bias = float((predicted - top1_percent).mean())
    values = {name: getattr(predictor, name) for name in AccuracyPredictor.__dataclass_fields__}
    line = f"{slope:.3f} x predicted {shift:+.2f}" if slope != 1.0 else f"{shift:+.2f} points"
    note = (
        f"re-based on {len(predicted)} measured subnet{'s' if len(predicted) > 1 else ''} ({line}; "
        f"its bias was {bias:+.2f} points; the mean absolute error left is {remaining:.2f} points)"
    )
    return AnchoredPredictor(**{**values, "note": note}, slope=slope, shift_percent=shift)
