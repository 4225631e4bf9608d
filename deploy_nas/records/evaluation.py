"""The answers of an exported model on labelled images: by class, and its worst mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy_nas.core.errors import RecordError
from deploy_nas.core.measured import Top1


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """An image that was classified wrongly.

    Args:
        name: of its file; empty if unknown.
        label: its class, as an index into the labels.
        guess: the class that the model gave, likewise.
        confidence: the model's probability of that class, 0 to 1.
        thumbnail: the image, small, as a JPEG file.
    """

    name: str
    label: int
    guess: int
    confidence: float
    thumbnail: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Confused:
    """``images`` of class ``label`` were taken for class ``guess``; both are indices into the labels."""

    label: int
    guess: int
    images: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The answers of a model on labelled images.

    Args:
        labels: names of the classes, in the order of the logits.
        confusion: number of images by class, row, and by the model's answer, column.
        mistakes: the worst first.
        images: number of images, at least 1.

    Raises:
        RecordError: numbers that contradict each other.
    """

    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    mistakes: tuple[Mistake, ...]
    images: int

    def __post_init__(self) -> None:
        count = len(self.labels)
        if len(self.confusion) != count or any(len(row) != count for row in self.confusion):
            raise _wrong(f"the confusion matrix must be {count} by {count}, as there are {count} classes")
        if any(images < 0 for row in self.confusion for images in row):
            raise _wrong("the confusion matrix holds a negative number")
        if self.images < 1 or sum(map(sum, self.confusion)) != self.images:
            raise _wrong(f"the confusion matrix does not add up to {self.images} images")
        for mistake in self.mistakes:
            if not (0 <= mistake.label < count and 0 <= mistake.guess < count):
                raise _wrong(f"a mistake is of a class outside 0 to {count - 1}")
            if mistake.label == mistake.guess or not 0.0 <= mistake.confidence <= 1.0:
                raise _wrong("a mistake must be a wrong answer, with a probability from 0 to 1")

    @property
    def top1(self) -> Top1:
        """Of all images."""
        return Top1(right=sum(row[i] for i, row in enumerate(self.confusion)), images=self.images)

    @property
    def by_class(self) -> tuple[Top1 | None, ...]:
        """Top-1 of the images of each class, in the order of the labels; ``None``: it has no images."""
        return tuple(
            Top1(right=row[i], images=sum(row)) if any(row) else None for i, row in enumerate(self.confusion)
        )

    @property
    def balanced_percent(self) -> float:
        """Mean of the top-1 of the classes that have images: each counts the same, however many it has."""
        shares = [top1.percent for top1 in self.by_class if top1 is not None]
        return sum(shares) / len(shares)

    def most_confused(self, count: int) -> tuple[Confused, ...]:
        """The pairs of classes that were confused most often, at most ``count``, the most frequent first."""
        wrong = np.array(self.confusion, dtype=np.int64)
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        pairs = [divmod(int(index), len(self.labels)) for index in order]
        return tuple(
            Confused(label=label, guess=guess, images=self.confusion[label][guess])
            for label, guess in pairs
            if wrong[label, guess]
        )


def _wrong(message: str) -> RecordError:
    return RecordError(message, subject="evaluation")
