"""The answers of an exported file on labelled images: by class, and the mistakes that it was surest of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters.thumbnails import thumbnail
from deploy_nas.core.arrays import Float32Array
from deploy_nas.core.errors import ImagesError, OptionError
from deploy_nas.deploy.model_file import ModelFile
from deploy_nas.deploy.top1 import LabelledImages, answers
from deploy_nas.records.evaluation import Evaluation, Mistake

THUMBNAIL_SIDE = 96
_OF_A_PAIR = 3  # more mistakes of the same kind say nothing new


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wrong:
    """A wrong answer, and the index of its image."""

    index: int
    label: int
    guess: int
    confidence: float


def evaluate(
    model: ModelFile,
    images: LabelledImages,
    *,
    names: Sequence[str] = (),
    worst: int = 12,
    threads: int = 1,
) -> Evaluation:
    """Classify every image as :func:`~deploy_nas.deploy.top1.measure_top1` does, and keep the answers.

    Args:
        model: the exported file.
        images: labelled images.
        names: of their files, in their order; empty if unknown.
        worst: number of mistakes to keep, at most: those with the highest probability, and at most three
            of the same class that got the same answer.
        threads: intra-op threads.

    Raises:
        RecordError: the file does not say how its images are preprocessed.
        ImagesError: no images, or other classes than the file's.
        OptionError: a wrong number of names, or a negative ``worst``.
    """
    count = len(images.labels)
    if not count:
        raise ImagesError("there is nothing to judge by", subject="images")
    if len(names) not in (0, count):
        raise OptionError(f"{len(names)} for {count} images", subject="names")
    if worst < 0:
        raise OptionError(f"must be at least 0, is {worst}", subject="worst")
    labelling, found = answers(model, images, threads=threads)
    labels = model.metadata.labels or images.classes
    if len(labels) != labelling.classes:  # some classes of a model that does not name them
        labels = tuple(str(number) for number in range(labelling.classes))
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    wrong: list[_Wrong] = []
    start = 0
    for true, logits in found:
        guesses = logits.argmax(axis=1)
        np.add.at(confusion, (true, guesses), 1)
        sure = softmax(logits)
        wrong += [
            _Wrong(
                index=start + int(i),
                label=int(true[i]),
                guess=int(guesses[i]),
                confidence=float(sure[i, guesses[i]]),
            )
            for i in np.flatnonzero(guesses != true)
        ]
        start += len(true)
    return Evaluation(
        labels=tuple(labels),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        mistakes=tuple(
            Mistake(
                name=names[one.index] if names else "",
                label=one.label,
                guess=one.guess,
                confidence=one.confidence,
                thumbnail=thumbnail(images.images[one.index], THUMBNAIL_SIDE),
            )
            for one in _worst(wrong, worst)
        ),
        images=count,
    )


def softmax(logits: Float32Array) -> NDArray[np.float64]:
    """Probabilities of the classes, float64 ``[n, classes]``, of logits ``[n, classes]``."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def _worst(wrong: Sequence[_Wrong], count: int) -> list[_Wrong]:
    """Those with the highest probability, the first of equal ones first."""
    chosen: list[_Wrong] = []
    of_a_pair: Counter[tuple[int, int]] = Counter()
    for one in sorted(wrong, key=lambda one: -one.confidence):
        if len(chosen) == count:
            break
        if of_a_pair[one.label, one.guess] < _OF_A_PAIR:
            of_a_pair[one.label, one.guess] += 1
            chosen.append(one)
    return chosen
