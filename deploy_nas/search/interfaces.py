"""The predictors that a search accepts: the interface of lab 3 and OFA's tutorial, and its batch forms.

Parameters are positional only, so that a class may name them as it likes. ``Cost`` is whatever a predictor
returns as the efficiency of an architecture: a dict of figures (ours, lab 3's) or one number (OFA's).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeGuard, TypeVar

import numpy as np

from deploy_nas.core.space import Architecture, FloatArray, IntArray, Space

Cost = TypeVar("Cost")
Cost_co = TypeVar("Cost_co", covariant=True)


class ArchEncoderLike(Protocol):
    """Draws and mutates architectures; ``mutate_*`` change their argument in place."""

    def random_sample_arch(self) -> Architecture:
        """A random architecture."""

    def mutate_resolution(self, arch: Architecture, mutate_prob: float, /) -> object:
        """Draw the image size anew with ``mutate_prob``."""

    def mutate_arch(self, arch: Architecture, mutate_prob: float, /) -> object:
        """Draw each block's choices and each depth anew with ``mutate_prob``."""


class AccuracyPredictorLike(Protocol):
    """Predicts accuracies; higher is better."""

    @property
    def arch_encoder(self) -> ArchEncoderLike:
        """Draws the architectures that are predicted."""

    def predict_acc(self, archs: list[Architecture], /) -> Iterable[object]:
        """One value per architecture: a number, or a scalar with ``item()``."""


class EfficiencyPredictor(Protocol[Cost_co]):
    """Prices one architecture.

    May also have ``satisfy_constraint(efficiency, constraint)``; without it, ``efficiency <= constraint``
    decides.
    """

    def get_efficiency(self, arch: Architecture, /) -> Cost_co:
        """The cost of ``arch``."""


class ConstraintChecker(Protocol):
    """An efficiency predictor that decides itself what meets a constraint, as lab 3's does."""

    def satisfy_constraint(self, efficiency: object, constraint: object, /) -> object:
        """True where ``efficiency`` meets ``constraint``."""


class Ordered(Protocol):
    """A cost that is compared with the constraint itself, as OFA's numbers are."""

    def __le__(self, constraint: object, /) -> object: ...


# -- batch forms, for whole generations at once ----------------------------------------------------


class SpaceEncoder(ArchEncoderLike, Protocol):
    """An encoder of a known space."""

    @property
    def space(self) -> Space:
        """The search space."""

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Image sizes that are drawn, pixels."""


class BatchEfficiencyPredictor(Protocol):
    """Prices encoded architectures."""

    @property
    def space(self) -> Space:
        """The search space."""

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Image sizes that can be priced, pixels."""

    def get_efficiency_batch(self, encoded: IntArray, /) -> Mapping[str, FloatArray]:
        """Encoded ``[n, 1 + genes]`` to figures: name to float64 ``[n]``."""


class BatchAccuracyPredictor(Protocol):
    """Predicts accuracies of encoded architectures."""

    def predict_encoded(self, encoded: IntArray, /) -> FloatArray:
        """Encoded ``[n, 1 + genes]`` to float64 ``[n]``."""


class WidthMutator(Protocol):
    """An encoder that also mutates widths: lab 3's does, OFA's do not."""

    def mutate_width(self, arch: Architecture, mutate_prob: float, /) -> object:
        """Draw each width anew with ``mutate_prob``, in place."""


class GeneratorOwner(Protocol):
    """An encoder that draws from a generator of its own."""

    rng: np.random.Generator


def pricing(predictor: EfficiencyPredictor[Cost]) -> Callable[[Architecture], Cost]:
    """Its ``get_efficiency``, or ``predict_efficiency`` as predictors of OFA's tutorial have it."""
    tutorial = hasattr(predictor, "predict_efficiency") and not hasattr(predictor, "get_efficiency")
    name = "predict_efficiency" if tutorial else "get_efficiency"
    price: Callable[[Architecture], Cost] = getattr(predictor, name)
    return price


def predicting(predictor: AccuracyPredictorLike) -> Callable[[list[Architecture]], Iterable[object]]:
    """Its ``predict_acc``, or ``predict_accuracy`` as predictors of OFA's tutorial have it."""
    tutorial = hasattr(predictor, "predict_accuracy") and not hasattr(predictor, "predict_acc")
    name = "predict_accuracy" if tutorial else "predict_acc"
    predict: Callable[[list[Architecture]], Iterable[object]] = getattr(predictor, name)
    return predict


def is_space_encoder(encoder: object) -> TypeGuard[SpaceEncoder]:
    """Whether the encoder knows its space."""
    return hasattr(encoder, "space")


def prices_batches(predictor: object) -> TypeGuard[BatchEfficiencyPredictor]:
    """Whether the predictor prices encoded architectures."""
    return hasattr(predictor, "get_efficiency_batch")


def predicts_batches(predictor: object) -> TypeGuard[BatchAccuracyPredictor]:
    """Whether the predictor takes encoded architectures."""
    return hasattr(predictor, "predict_encoded")


def checks_constraints(predictor: object) -> TypeGuard[ConstraintChecker]:
    """Whether the predictor has ``satisfy_constraint``."""
    return hasattr(predictor, "satisfy_constraint")


def mutates_widths(encoder: object) -> TypeGuard[WidthMutator]:
    """Whether the encoder has ``mutate_width``."""
    return hasattr(encoder, "mutate_width")


def owns_generator(encoder: object) -> TypeGuard[GeneratorOwner]:
    """Whether the encoder draws from a numpy generator of its own."""
    return isinstance(getattr(encoder, "rng", None), np.random.Generator)
