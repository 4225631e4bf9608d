"""The report's sections on what a model answered: accuracy by class, confusion and the worst mistakes."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy_nas.core.measured import Top1
from deploy_nas.records.evaluation import Evaluation, Mistake

_LARGEST_MATRIX, _PAIRS = 20, 20
_CLASSES_AT_ONCE = 30  # the better ones of more classes are folded away


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassShown:
    """A class: its top-1, ``None`` without images, and the number of images it was trained on, if known."""

    name: str
    top1: Top1 | None
    trained_on: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A cell of the confusion matrix: images, their share of the row in percent, and whether it is right."""

    images: int
    percent: float
    right: bool

    @property
    def shade_percent(self) -> float:
        """Strength of the background: text stays readable on it, and a few wrong answers are visible."""
        return 0.45 * self.percent if self.right else 6.0 * math.sqrt(self.percent)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """``images`` of a class of ``of`` images were taken for another class."""

    name: str
    guess: str
    images: int
    of: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MistakeShown:
    """A mistake in words, and its picture as a ``data:`` URI."""

    name: str
    label: str
    guess: str
    percent: float
    picture: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationShown:
    """An evaluation, as the page shows it.

    Args:
        lead: top-1 of all images, and the mean of the classes, in a sentence.
        worst: the classes with the lowest top-1, the lowest first.
        others: the better ones, if there are many classes.
        labels: of rows and columns of the matrix.
        matrix: of up to 20 classes, a row per class; empty for more.
        pairs: that were confused most often; empty if there is a matrix.
        mistakes: the worst first.
    """

    lead: str
    worst: Sequence[ClassShown]
    others: Sequence[ClassShown]
    labels: Sequence[str]
    matrix: Sequence[Sequence[Cell]]
    pairs: Sequence[Pair]
    mistakes: Sequence[MistakeShown]

    @property
    def counts_known(self) -> bool:
        """Whether the number of training images of any class is known."""
        return any(shown.trained_on is not None for shown in (*self.worst, *self.others))


def evaluation_shown(found: Evaluation, trained_on: Mapping[str, int] | None = None) -> EvaluationShown:
    """An evaluation in words and tables.

    Args:
        found: the evaluation.
        trained_on: number of training images by class, if known.
    """
    known = trained_on or {}
    classes = [
        ClassShown(name=name, top1=top1, trained_on=known.get(name))
        for name, top1 in zip(found.labels, found.by_class, strict=True)
    ]
    classes.sort(key=lambda shown: (101.0 if shown.top1 is None else shown.top1.percent, shown.name))
    small = len(classes) <= _LARGEST_MATRIX
    top1 = found.top1
    return EvaluationShown(
        lead=f"{top1.percent:.1f}% of {top1.images:,} images are right; the mean of the classes is "
        f"{found.balanced_percent:.1f}%.",
        worst=classes[:_CLASSES_AT_ONCE],
        others=classes[_CLASSES_AT_ONCE:],
        labels=found.labels,
        matrix=_matrix(found) if small else (),
        pairs=() if small else _pairs(found),
        mistakes=[_mistake(mistake, found.labels) for mistake in found.mistakes],
    )


def _matrix(found: Evaluation) -> list[list[Cell]]:
    return [
        [
            Cell(images=images, percent=100.0 * images / max(1, sum(row)), right=guess == label)
            for guess, images in enumerate(row)
        ]
        for label, row in enumerate(found.confusion)
    ]


def _pairs(found: Evaluation) -> list[Pair]:
    return [
        Pair(
            name=found.labels[pair.label],
            guess=found.labels[pair.guess],
            images=pair.images,
            of=sum(found.confusion[pair.label]),
        )
        for pair in found.most_confused(_PAIRS)
    ]


def _mistake(mistake: Mistake, labels: Sequence[str]) -> MistakeShown:
    return MistakeShown(
        name=mistake.name,
        label=labels[mistake.label],
        guess=labels[mistake.guess],
        percent=100.0 * mistake.confidence,
        picture=f"data:image/jpeg;base64,{base64.b64encode(mistake.thumbnail).decode('ascii')}",
    )
