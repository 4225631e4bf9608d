"""Sets of images: their pixels, labels, classes and names, and how they were read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters.images.pixels import UInt8Array, resize
from deploy_nas.adapters.images.report import ReadingReport
from deploy_nas.adapters.images.storage import room_for

_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images as one array, in memory or mapped from a file.

    Args:
        images: uint8 ``[n, 3, height, width]``, RGB.
        labels: int64 ``[n]``, index into ``classes``; -1 if the set has no labels.
        classes: names of the class folders, in Unicode's composed form (NFC), in the order of their numbers:
            numeric if all are whole numbers, else alphabetic; empty if the set has no labels.
        source: the folder or zip they were read from.
        report: how they were read; of the whole source, also for a part of the set.
        median_side: median of the images' shorter sides in pixels, before resizing; 0 if unknown.
        names: path of each picture in the source, ``[n]``; empty if unknown.
    """

    images: UInt8Array
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    source: str
    report: ReadingReport = field(default_factory=ReadingReport)
    median_side: float = 0.0
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the pictures that could not be used."""
        return self.report.skipped

    @cached_property
    def digest(self) -> str:
        """First 16 hex digits of the sha256 of pixels, labels and class names."""
        state = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        state.update(np.ascontiguousarray(self.images).data)
        state.update(np.ascontiguousarray(self.labels).data)
        return state.hexdigest()[:16]

    def take(self, indices: NDArray[np.int64] | Sequence[int]) -> ImageSet:
        """The images at these indices, in this order: a copy, in a file where memory does not hold it."""
        chosen = np.asarray(indices, dtype=np.int64)
        names = tuple(self.names[index] for index in chosen.tolist()) if self.names else ()
        (images,) = room_for([(len(chosen), *self.images.shape[1:])], None, self.source)
        for start in range(0, len(chosen), _CHUNK):
            part = slice(start, start + _CHUNK)
            images[part] = self.images[chosen[part]]
        return replace(self, images=images, labels=self.labels[chosen], names=names)


@dataclass(frozen=True)
class SizedImages:
    """The same images by size in pixels, each resized from the original picture."""

    by_size: Mapping[int, ImageSet]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def first(self) -> ImageSet:
        """The set at the first size, for what all sizes share: labels, classes, source, report, names."""
        return next(iter(self.by_size.values()))

    @cached_property
    def digest(self) -> str:
        """First 16 hex digits of the sha256 of the digests of all sizes."""
        digests = {size: given.digest for size, given in self.by_size.items()}
        return hashlib.sha256(repr(digests).encode()).hexdigest()[:16]


def at_sizes(given: ImageSet, sizes: Iterable[int]) -> SizedImages:
    """Resize images in memory to each of the sizes."""
    return SizedImages({size: replace(given, images=resize(given.images, size)) for size in sizes})


def with_mirrored(given: ImageSet) -> ImageSet:
    """The images followed by their mirror images: twice as many, so that accuracies are less noisy."""
    count = len(given)
    (images,) = room_for([(2 * count, *given.images.shape[1:])], None, given.source)
    images[:count], images[count:] = given.images, given.images[..., ::-1]
    return replace(
        given,
        images=images,
        labels=np.concatenate([given.labels, given.labels]),
        names=given.names + given.names,
    )
