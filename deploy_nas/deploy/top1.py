"""Top-1 of an exported file on labelled images, with an interval."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters import images
from deploy_nas.adapters.images import ReadingReport
from deploy_nas.core.errors import ImagesError
from deploy_nas.core.measured import Top1
from deploy_nas.deploy.model_file import ModelFile
from deploy_nas.device.runtime import Runnable, first_output
from deploy_nas.device.session import open_session

_BATCH = 100
_CHUNK_BYTES = 64 * 1024 * 1024  # of prepared images in memory at once
_NUMBER = re.compile(r"[0-9]{1,9}")


class LabelledImages(Protocol):
    """The part of a set of images (``adapters.images.ImageSet``) that measuring top-1 needs."""

    @property
    def images(self) -> NDArray[np.uint8]:
        """Images, uint8 ``[n, 3, height, width]``."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class number of each image, int64 ``[n]``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""

    @property
    def report(self) -> ReadingReport:
        """How they were read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelling:
    """Images' labels in the model's numbering.

    Args:
        labels: int64 ``[n]``.
        classes: number of the model's classes.
        by_position: true if the model names no classes, so that the folders' numbers or their order count.
    """

    labels: NDArray[np.int64]
    classes: int
    by_position: bool


def predict(
    data: bytes, prepared: NDArray[np.float32], *, threads: int = 1, fused: bool = True
) -> NDArray[np.int64]:
    """The class of each prepared image, float32 ``[n, 3, s, s]``; ``fused`` as in ``open_session``."""
    logits = _logits(open_session(data, threads=threads, fused=fused), prepared)
    found: NDArray[np.int64] = logits.argmax(axis=1)
    return found


def _logits(network: Runnable, prepared: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits ``[n, classes]`` of prepared images, in batches of the length that the network takes."""
    length = network.inputs[0].shape[0]
    fixed = length is not None
    batch = _BATCH if length is None else length
    found = []
    for start in range(0, len(prepared), batch):
        x = prepared[start : start + batch]
        count = len(x)
        if count < batch and fixed:
            x = np.resize(x, (batch, *x.shape[1:]))
        found.append(first_output(network, x)[:count])
    return np.concatenate(found)


def measure_top1(model: ModelFile, given: LabelledImages, *, threads: int = 1, fused: bool = True) -> Top1:
    """Classify every image with the file's own preprocessing, in ONNX Runtime.

    Raises:
        RecordError: the file does not say how its images are preprocessed.
        ImagesError: other classes than the file's.
    """
    labelling, found = answers(model, given, threads=threads, fused=fused)
    right = sum(int((logits.argmax(axis=1) == labels).sum()) for labels, logits in found)
    reading = given.report.reading(model_classes=labelling.classes, by_position=labelling.by_position)
    return Top1(right=right, images=len(given.labels), reading=reading)


Answers = Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]
"""Labels in a file's numbering, int64 ``[n]``, and logits, float32 ``[n, classes]``, many at a time."""


def answers(
    model: ModelFile, given: LabelledImages, *, threads: int = 1, fused: bool = True
) -> tuple[Labelling, Answers]:
    """The images' labels, and the answers of a file on them in their order, with its own preprocessing.

    Raises:
        RecordError, ImagesError: see :func:`measure_top1`.
    """
    how = model.metadata.prepared_as(model.subject)
    network = open_session(model.data, threads=threads, fused=fused)
    labelling = labels_of(given, model, classes_of(network))
    batch = network.inputs[0].shape[0] or _BATCH
    chunk = batch * max(1, _CHUNK_BYTES // (batch * 3 * how.image_size**2 * 4))

    def answer() -> Answers:
        for start in range(0, len(labelling.labels), chunk):
            x = images.preprocess(given.images[start : start + chunk], how.image_size, how.mean, how.std)
            yield labelling.labels[start : start + chunk], _logits(network, x)

    return labelling, answer()


def classes_of(network: Runnable) -> int:
    """Number of classes of an open network."""
    return network.outputs[0].single[-1]


def labels_of(given: LabelledImages, model: ModelFile, classes: int) -> Labelling:
    """The images' labels in the model's numbering.

    A model that names its classes takes the folders of any of them, by name. For a model without names,
    folders that are numbers below ``classes`` mean the class of that number, unless they seem to be counted
    from 1; others are numbered in their
    order, and there have to be as many as the model has classes.

    Raises:
        ImagesError: other classes than the model's.
    """
    if not given.classes:
        raise ImagesError(f"0 class folders, the model has {classes} classes", subject="images")
    names = [_composed(name) for name in model.metadata.labels]
    folders = [_composed(name) for name in given.classes]
    if names:
        if odd := [name for name in folders if name not in names]:
            raise ImagesError(
                f"class folder {odd[0]!r} is not one of the model's classes ({', '.join(names[:10])}"
                f"{', ...' if len(names) > 10 else ''})",
                subject="images",
            )
        numbers = [names.index(name) for name in folders]
    elif all(_NUMBER.fullmatch(name) and int(name) < classes for name in folders):
        numbers = [int(name) for name in folders]
        if 1 < len(numbers) < classes and numbers == list(range(1, len(numbers) + 1)):
            raise ImagesError(
                f"class folders 1 to {len(numbers)}, the model has {classes} classes, counted from 0: "
                "whether folder 1 is the first or the second class is not known",
                subject="images",
                hint="name the folders by the classes' numbers from 0, and export with `labels`",
            )
    elif len(folders) == classes:
        numbers = list(range(classes))
    else:
        raise ImagesError(
            f"{len(folders)} class folders, the model has {classes} classes and does not name them",
            subject="images",
            hint="give all its classes, or name the folders by their numbers from 0",
        )
    return Labelling(
        labels=np.array(numbers, dtype=np.int64)[given.labels], classes=classes, by_position=not names
    )


def _composed(name: str) -> str:
    """The name in the form of Unicode that class folders are read in."""
    return unicodedata.normalize("NFC", name)
