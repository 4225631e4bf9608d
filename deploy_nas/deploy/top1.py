"""Top-1 of an exported file on labelled images, with an interval."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters import images
from deploy_nas.core.errors import ImagesError
from deploy_nas.core.measured import Top1
from deploy_nas.deploy.model_file import ModelFile
from deploy_nas.device.runtime import Runnable, first_output
from deploy_nas.device.session import open_session

_BATCH = 100
_CHUNK = 1000


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
    found = answers(model, given, threads=threads, fused=fused)
    right = sum(int((logits.argmax(axis=1) == labels).sum()) for labels, logits in found)
    return Top1(right=right, images=len(given.labels))


def answers(
    model: ModelFile, given: LabelledImages, *, threads: int = 1, fused: bool = True
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """The answers of a file on images, many at a time and in their order, with its own preprocessing.

    Yields:
        Labels in the file's numbering, int64 ``[n]``, and logits, float32 ``[n, classes]``.

    Raises:
        RecordError, ImagesError: see :func:`measure_top1`.
    """
    how = model.metadata.prepared_as(model.subject)
    network = open_session(model.data, threads=threads, fused=fused)
    labels = labels_of(given, model, classes_of(network))
    for start in range(0, len(labels), _CHUNK):
        x = images.preprocess(given.images[start : start + _CHUNK], how.image_size, how.mean, how.std)
        yield labels[start : start + _CHUNK], _logits(network, x)


def classes_of(network: Runnable) -> int:
    """Number of classes of an open network."""
    return network.outputs[0].single[-1]


def labels_of(given: LabelledImages, model: ModelFile, classes: int) -> NDArray[np.int64]:
    """The images' labels in the model's numbering: by class name, or in order for a model without names.

    Raises:
        ImagesError: other classes than the model's.
    """
    if len(given.classes) != classes:
        raise ImagesError(
            f"{len(given.classes)} class folders, the model has {classes} classes", subject="images"
        )
    names = model.metadata.labels
    if not names:
        return given.labels
    if odd := [name for name in given.classes if name not in names]:
        raise ImagesError(
            f"class folder {odd[0]!r} is not one of the model's classes ({', '.join(names[:10])}"
            f"{', ...' if len(names) > 10 else ''})",
            subject="images",
        )
    return np.array([names.index(name) for name in given.classes], dtype=np.int64)[given.labels]
