"""Read a folder or a zip of pictures into sets of images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters.images.classes import ClassFolders, by_class
from deploy_nas.adapters.images.decoding import SUFFIXES, Decoded, UnfitPictureError, decode
from deploy_nas.adapters.images.pixels import UInt8Array
from deploy_nas.adapters.images.report import NAMED_AT_MOST, LeftOut, ReadingReport, named
from deploy_nas.adapters.images.sets import ImageSet, SizedImages
from deploy_nas.adapters.images.storage import room_for
from deploy_nas.core.errors import ImagesError, OptionError
from deploy_nas.records.sources import Parts, Source, open_source

LEFT_OUT_LIMIT = 0.01
Item = TypeVar("Item")


def load_images(
    source: Path,
    *,
    limit_per_class: int | None = None,
    limit: int | None = None,
    size: int | None = None,
    labelled: bool = True,
    store: Path | None = None,
) -> ImageSet:
    """Read a folder or a zip of images.

    Pictures are turned upright as their EXIF says, laid over white where they are transparent, and reduced
    to 8 bits per channel; the set's report counts them, and names what was left out.

    Args:
        source: the folder or zip.
        limit_per_class: read this many of each class, evenly spaced in the order of names; of an
            unlabelled set, this many in total.
        limit: read this many in total, spread evenly over the classes.
        size: side in pixels that every image is resized to (its centre square, bilinear, antialiased);
            ``None``: images keep their size, which must be the same for all.
        labelled: require class folders; otherwise read the images of all folders, as for calibration.
        store: a folder to keep the array in, as a file that is mapped; ``None``: in memory, or in a
            temporary file if that would take more than half of the memory available.

    Raises:
        ImagesError: no such source, no images, folders that are not class folders, names that are ambiguous,
            images of different sizes, more than there is room for, or more than 1% that cannot be used; the
            error names the folder or image.
        OptionError: a limit or size below 1.
    """
    return _load(source, limit_per_class, limit, [size], labelled, store)[0]


def load_images_at_sizes(
    source: Path,
    sizes: Sequence[int],
    *,
    limit_per_class: int | None = None,
    labelled: bool = True,
    store: Path | None = None,
    only: Collection[str] | None = None,
) -> SizedImages:
    """Read a folder or a zip of images once and resize each to every size, as :func:`load_images` does.

    ``only`` are names, as an :class:`ImageSet` has them, of the pictures to read; the classes stay those of
    all.
    """
    found = _load(source, limit_per_class, None, sizes, labelled, store, only)
    return SizedImages(dict(zip(sizes, found, strict=True)))


def _load(
    source: Path,
    limit_per_class: int | None,
    limit: int | None,
    sizes: Sequence[int | None],
    labelled: bool,
    store: Path | None,
    only: Collection[str] | None = None,
) -> list[ImageSet]:
    values = [("limit_per_class", limit_per_class), ("limit", limit), *(("size", size) for size in sizes)]
    for name, value in values:
        if value is not None and value < 1:
            raise OptionError(f"must be at least 1, is {value}", subject=name)
    with open_source(source) as reader:
        files = [parts for parts in reader.files if _is_picture(parts)]
        if not files:
            raise ImagesError(
                "holds no images", subject=str(source), hint="images end in .jpg, .png, .webp and the like"
            )
        if labelled:
            groups = by_class(files, reader.folders, source)
        else:
            groups = ClassFolders(files={"": sorted(files)}, numeric=False)
        each = [n for n in (limit_per_class, limit and max(1, limit // len(groups.files))) if n is not None]
        chosen = [
            (parts, label if labelled else -1)
            for label, found in enumerate(groups.files.values())
            for parts in _spread(found, min(each, default=None))
        ]
        if only is not None:
            wanted = frozenset(only)
            chosen = [(parts, label) for parts, label in chosen if "/".join(parts) in wanted]
        read = _Reading(source, _spread(chosen, limit), sizes, store)
        read.run(reader)
        others = sorted("/".join(parts) for parts in reader.files if not _is_picture(parts))
    classes = tuple(groups.files) if labelled else ()
    return read.sets(classes, groups.numeric, others)


def _is_picture(parts: Parts) -> bool:
    return PurePosixPath(parts[-1]).suffix.lower() in SUFFIXES


def _spread(items: list[Item], limit: int | None) -> list[Item]:
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


@dataclass
class _Reading:
    """The chosen pictures at each of the sizes, as far as they are read."""

    source: Path
    chosen: Sequence[tuple[Parts, int]]
    sizes: Sequence[int | None]
    store: Path | None
    arrays: list[UInt8Array] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sides: list[int] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    turned: int = 0
    transparent: int = 0
    sixteen_bit: int = 0
    animated: int = 0

    def run(self, reader: Source) -> None:
        """Read them all; raises :class:`ImagesError` if more than 1% cannot be used."""
        for parts, label in self.chosen:
            name = "/".join(parts)
            try:
                found = decode(_content(reader, parts), self.sizes)
            except UnfitPictureError as error:
                self.left_out.append(LeftOut(name, str(error)))
                continue
            self._add(name, label, found)
        count, of = len(self.left_out), len(self.chosen)
        if count > LEFT_OUT_LIMIT * of or not self.labels:
            raise ImagesError(
                f"{count} of {of} images cannot be used ({named(self.left_out)})",
                subject=str(self.source),
                hint="convert, replace or remove them; up to 1% are left out",
            )

    def _add(self, name: str, label: int, found: Decoded) -> None:
        if not self.arrays:
            shapes = [(len(self.chosen), *pixels.shape) for pixels in found.pixels]
            self.arrays = room_for(shapes, self.store, str(self.source))
        for array, pixels in zip(self.arrays, found.pixels, strict=True):
            if pixels.shape != array.shape[1:]:
                odd, wanted = ("x".join(map(str, s[:0:-1])) for s in (pixels.shape, array.shape[1:]))
                raise ImagesError(
                    f"is {odd} pixels, the images before it are {wanted}",
                    subject=f"{self.source}: {name}",
                    hint="give the `size` to resize all to",
                )
            array[len(self.labels)] = pixels
        self.labels.append(label)
        self.names.append(name)
        self.sides.append(found.side)
        self.turned += found.turned
        self.transparent += found.transparent
        self.sixteen_bit += found.sixteen_bit
        self.animated += found.animated

    def sets(self, classes: tuple[str, ...], numeric: bool, others: Sequence[str]) -> list[ImageSet]:
        """One set for each size; ``others`` are the files that are not pictures."""
        labels: NDArray[np.int64] = np.array(self.labels, dtype=np.int64)
        largest = max((size for size in self.sizes if size is not None), default=None)
        report = ReadingReport(
            source=str(self.source),
            used=len(labels),
            left_out=tuple(self.left_out),
            not_pictures=len(others),
            not_pictures_named=tuple(others[:NAMED_AT_MOST]),
            turned=self.turned,
            transparent=self.transparent,
            sixteen_bit=self.sixteen_bit,
            animated=self.animated,
            enlarged=sum(side < largest for side in self.sides) if largest is not None else 0,
            numeric_order=numeric,
            classes=len(classes),
            size=largest,
        )
        return [
            ImageSet(
                images=array[: len(labels)],
                labels=labels,
                classes=classes,
                source=str(self.source),
                report=report,
                median_side=float(np.median(self.sides)),
                names=tuple(self.names),
            )
            for array in self.arrays
        ]


def _content(reader: Source, parts: Parts) -> bytes:
    try:
        return reader.read(parts)
    except ValueError as error:  # the source's own reasons
        raise UnfitPictureError(str(error)) from error
    except Exception as error:  # zipfile and zlib raise several unrelated types for damaged data
        raise UnfitPictureError("cannot be read from its folder or zip") from error
