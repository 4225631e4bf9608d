"""Accuracy predictors of one's own: a function of an architecture, or an object for whole generations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deploy_nas.core.errors import OptionError
from deploy_nas.core.predicted import Unit
from deploy_nas.core.space import FloatArray, IntArray, Space


class OfRows(Protocol):
    """Predicts encoded architectures, int64 ``[n, 1 + genes]`` (``space.decode`` gives their dicts)."""

    def predict_encoded(self, encoded: IntArray, /) -> FloatArray:
        """One value each, float64 ``[n]``."""


class OfDicts(Protocol):
    """Predicts architectures as dicts, as OFA's ``AccuracyPredictor`` does."""

    def predict_acc(self, archs: Sequence[Mapping[str, object]], /) -> Iterable[object]:
        """One value each."""


OfOne = Callable[[Mapping[str, object]], float]
OwnAccuracy = OfOne | OfDicts | OfRows


class Predicts(Protocol):
    """The part of an accuracy predictor that searches and reports use; :class:`OwnPredictor` has it too."""

    @property
    def space(self) -> Space:
        """The search space."""

    @property
    def unit(self) -> Unit:
        """Of its values."""

    @property
    def note(self) -> str:
        """A known bias in a sentence; empty for none."""

    def predict_encoded(self, encoded: IntArray) -> FloatArray:
        """In ``unit``, float64 ``[n]``."""

    def percent_encoded(self, encoded: IntArray) -> FloatArray:
        """In percent."""

    def spread_encoded(self, encoded: IntArray) -> FloatArray:
        """Standard deviation of an ensemble; 0 without one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnPredictor:
    """An accuracy predictor of one's own, as searches ask for it."""

    space: Space
    given: OwnAccuracy
    unit: Unit = "percent"
    note: str = ""

    def predict_encoded(self, encoded: IntArray) -> FloatArray:
        """Its values, float64 ``[n]``; raises :class:`OptionError` unless they are ``n`` finite numbers."""
        return values_of(self.given, self.space, encoded, "predictor")

    def percent_encoded(self, encoded: IntArray) -> FloatArray:
        """In percent, whatever the unit."""
        return self.predict_encoded(encoded) * (100.0 if self.unit == "fraction" else 1.0)

    def spread_encoded(self, encoded: IntArray) -> FloatArray:
        """It has no ensemble: 0."""
        return np.zeros(len(np.atleast_2d(encoded)))


def values_of(given: object, space: Space, encoded: IntArray, subject: str) -> FloatArray:
    """The values of a predictor of one's own; whole generations where it takes them, else one by one."""
    encoded = np.atleast_2d(encoded)
    found: object
    if hasattr(given, "predict_encoded"):
        found = given.predict_encoded(encoded)
    elif hasattr(given, "predict_acc"):
        found = given.predict_acc(space.decode(encoded))
    elif callable(given):
        found = [float(given(architecture)) for architecture in space.decode(encoded)]
    else:
        raise OptionError(
            f"is {type(given).__name__}: give a function of an architecture, or an object with "
            "predict_encoded or predict_acc",
            subject=subject,
        )
    values = np.asarray(found, dtype=np.float64).reshape(-1)
    if len(values) != len(encoded) or not np.isfinite(values).all():
        raise OptionError(
            f"must give a finite number for each of {len(encoded)} architectures", subject=subject
        )
    return values
