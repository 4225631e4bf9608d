"""Images to train on and to judge by: their classes, their sizes and the split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy_nas.adapters.images import ImageSet, SizedImages, load_images, load_images_at_sizes
from deploy_nas.core.errors import ImagesError
from deploy_nas.core.space import IntArray, Space
from deploy_nas.training.plans import SMALL_PIXELS, augmentation_for

# Training images are kept somewhat larger than the largest image size, so that cuts of them are sharp.
_KEPT_LARGER = 1.15
_HELD_OUT, _MOST_HELD_OUT = 0.15, 5000
_SPLIT_SEED = 20261127
_EMBEDDED_SEED = 20261124
# Of the images' median side: larger image sizes take much more time for little more accuracy.
_LARGEST_SHARE = 0.85
_MOST_SIZES = 5  # a profile times each


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingImages:
    """The images of a training: to train on, at one size, and to judge by, at each of the space's."""

    training: ImageSet
    validation: SizedImages
    own_split: bool

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of training images of each class."""
        classes = len(self.training.classes)
        return tuple(np.bincount(self.training.labels, minlength=classes).tolist())


def look_at(source: Path) -> ImageSet:
    """A few images of every class: the classes, and how large images are."""
    found = load_images(source, limit_per_class=3, size=32)
    if len(found.classes) < 2:
        raise ImagesError(
            f"holds one class, {found.classes[0]!r}: there is nothing to tell apart",
            subject=str(source),
            hint="give each class a folder",
        )
    return found


def image_sizes_for(base: Space, median_side: float) -> tuple[int, ...]:
    """The image sizes to train for images of this shorter side, pixels."""
    most = median_side if median_side <= SMALL_PIXELS else _LARGEST_SHARE * median_side
    fit = [size for size in base.image_sizes if size <= most] or [base.image_sizes[0]]
    spread = np.linspace(0, len(fit) - 1, min(_MOST_SIZES, len(fit)))
    return tuple(fit[round(place)] for place in spread)


def read_images(source: Path, space: Space, validation: Path | None = None) -> TrainingImages:
    """Images to train on and to judge by; without ``validation``, 15% of each class are held out for that.

    Raises:
        ImagesError: unusable images, or validation images of other classes.
    """
    kept = _kept_side(space)
    everything = load_images(source, size=kept)
    if validation is not None:
        given = load_images_at_sizes(validation, space.image_sizes)
        _same_classes(everything, given.first, str(validation))
        return TrainingImages(training=everything, validation=given, own_split=False)
    training, held_out = split(everything.labels, space.classes)
    if not len(held_out):
        raise ImagesError(
            f"{len(everything)} images are too few to judge by",
            subject=everything.source,
            hint="name `validation`",
        )
    names = [everything.names[index] for index in held_out]
    return TrainingImages(
        training=everything.take(training),
        validation=load_images_at_sizes(source, space.image_sizes, only=names),
        own_split=True,
    )


def _kept_side(space: Space) -> int:
    """Side at which training images are kept, pixels."""
    largest = max(space.image_sizes)
    cut = augmentation_for(largest).least_area < 1.0
    return round(_KEPT_LARGER * largest) if cut else largest


def _same_classes(training: ImageSet, validation: ImageSet, where: str) -> None:
    if odd := sorted(set(validation.classes) - set(training.classes)):
        raise ImagesError(f"class {odd[0]!r} is not in the training images", subject=where)
    if lacking := sorted(set(training.classes) - set(validation.classes)):
        raise ImagesError(
            f"has no images of class {lacking[0]!r}",
            subject=where,
            hint="add some, or leave `validation` out",
        )


def split(labels: IntArray, classes: int) -> tuple[list[int], list[int]]:
    """Indices to train on and to judge by: 15% of each class, at most 5,000 in all; always the same.

    A class of one image has it in training; one of two or more has at least one in each.
    """
    rng = np.random.default_rng(_SPLIT_SEED)
    share = min(_HELD_OUT, _MOST_HELD_OUT / len(labels))
    training: list[int] = []
    held_out: list[int] = []
    for label in range(classes):
        members = rng.permutation(np.flatnonzero(labels == label)).tolist()
        count = min(len(members) - 1, max(1, round(share * len(members)))) if members else 0
        held_out += members[:count]
        training += members[count:]
    return sorted(training), sorted(held_out)


def held_out_split(images: ImageSet, count: int = 5000) -> tuple[ImageSet, ImageSet]:
    """Images to train the embedded supernet on, and ``count`` others to judge it by; always the same.

    Raises:
        ImagesError: there are no more images than that.
    """
    if not 0 < count < len(images):
        raise ImagesError(
            f"{len(images)} images, but {count} are held out and more are needed", subject=images.source
        )
    order = np.random.default_rng(_EMBEDDED_SEED).permutation(len(images))
    return images.take(order[count:]), images.take(order[:count])
