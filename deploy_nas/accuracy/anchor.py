"""Re-basing a predictor on a few accuracies that the user measured.

A predictor ranks better than it promises: OFA's published one was fitted to images held out of the
training set, and reads several points above what validation images give. A few measured subnets move its
scale to theirs; the order, and so what a search finds, stays as it was.
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

# Fewer fix a shift alone: with two or three a slope would be their noise.
_LEAST_FOR_SLOPE = 5
_SLOPES = (0.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class AnchoredPredictor(AccuracyPredictor):
    """``slope * value + shift_percent``, in percent, of a predictor."""

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
        OptionError: a percentage that is none, or an architecture of another space; names it.
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
        raise OptionError("names no measured subnet", subject="--anchor")
    return encoded, np.concatenate(top1)


def _same(space: Space, other: Space, name: str) -> None:
    if other.id != space.id:
        raise OptionError(f"{name} is of {other.id}, the predictor of {space.id}", subject="--anchor")


def _percent(text: str, source: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 < value <= 100:  # up to 1 it is a fraction, as published predictors have it
        raise OptionError(
            f"must be a top-1 in percent, is {source!r}", subject="--anchor", hint="as best.json=76.9"
        )
    return value


def anchored(predictor: AccuracyPredictor, encoded: IntArray, top1_percent: FloatArray) -> AnchoredPredictor:
    """The predictor on the scale of the measured subnets.

    A shift (their median difference); from five different ones on a least-squares line, with a slope kept
    between 0.5 and 2. Its note says what was done and what is left of the differences.
    """
    predicted = predictor.percent_encoded(encoded)
    slope = 1.0
    if len(predicted) >= _LEAST_FOR_SLOPE and predicted.std() > 0:
        slope = float(np.clip(np.polyfit(predicted, top1_percent, 1)[0], *_SLOPES))
    shift = float(np.median(top1_percent - slope * predicted))
    left = float(np.abs(slope * predicted + shift - top1_percent).mean())
    bias = float((predicted - top1_percent).mean())
    values = {name: getattr(predictor, name) for name in AccuracyPredictor.__dataclass_fields__}
    line = f"{slope:.3f} x predicted {shift:+.2f}" if slope != 1.0 else f"{shift:+.2f} points"
    note = (
        f"re-based on {len(predicted)} measured subnet{'s' if len(predicted) > 1 else ''} ({line}; "
        f"it read {bias:+.2f} points off, {left:.2f} are left on average)"
    )
    return AnchoredPredictor(**{**values, "note": note}, slope=slope, shift_percent=shift)
