"""Image sets: folders and zips of images, read into arrays.

The only importer of PIL, which is loaded on first use.

A set is a folder or a zip of class folders (``class/name.jpg``), possibly inside one leading folder.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.errors import ImagesError, OptionError
from deploy_nas.records.sources import Parts, Source, open_source

if TYPE_CHECKING:
    from PIL import Image

UInt8Array = NDArray[np.uint8]
Float32Array = NDArray[np.float32]
Item = TypeVar("Item")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".gif", ".tif", ".tiff"})
UNREADABLE_LIMIT = 0.01
_NAMED_AT_MOST = 5
_MAX_PIXELS = 50_000_000


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images in memory.

    Args:
        images: uint8 ``[n, 3, height, width]``, RGB.
        labels: int64 ``[n]``, index into ``classes``; -1 if the set has no labels.
        classes: names of the class folders, sorted; empty if the set has no labels.
        source: the folder or zip they were read from.
        skipped: names of the images that could not be read.
        median_side: median of the images' shorter sides in pixels, before resizing; 0 if unknown.
    """

    images: UInt8Array
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    source: str
    skipped: tuple[str, ...] = ()
    median_side: float = 0.0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def skipped_count(self) -> int:
        """Number of images that could not be read."""
        return len(self.skipped)

    @cached_property
    def digest(self) -> str:
        """First 16 hex digits of the sha256 of pixels, labels and class names."""
        state = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        state.update(np.ascontiguousarray(self.images).data)
        state.update(np.ascontiguousarray(self.labels).data)
        return state.hexdigest()[:16]

    def take(self, indices: NDArray[np.int64] | Sequence[int]) -> ImageSet:
        """The images at these indices, in this order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])


@dataclass(frozen=True)
class SizedImages:
    """The same images by size in pixels, each resized from the original picture."""

    by_size: Mapping[int, ImageSet]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def first(self) -> ImageSet:
        """The set at the first size, for what all sizes share: labels, classes, source, skipped."""
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
    return replace(
        given,
        images=np.concatenate([given.images, given.images[..., ::-1]]),
        labels=np.concatenate([given.labels, given.labels]),
    )


def load_images(
    source: Path,
    *,
    limit_per_class: int | None = None,
    limit: int | None = None,
    size: int | None = None,
    labelled: bool = True,
) -> ImageSet:
    """Read a folder or a zip of images.

    Args:
        source: the folder or zip.
        limit_per_class: read this many of each class, evenly spaced in the order of names; of an
            unlabelled set, this many in total.
        limit: read this many in total, spread evenly over the classes.
        size: side in pixels that every image is resized to (its centre square, bilinear, antialiased);
            ``None``: images keep their size, which must be the same for all.
        labelled: require class folders; otherwise read the images of all folders, as for calibration.

    Raises:
        ImagesError: no such source, no images, an empty class folder, images of different sizes, more
            than fit into memory, or more than 1% unreadable; the error names the folder or image.
        OptionError: a limit or size below 1.
    """
    return _load(source, limit_per_class, limit, [size], labelled)[0]


def load_images_at_sizes(
    source: Path, sizes: Sequence[int], *, limit_per_class: int | None = None, labelled: bool = True
) -> SizedImages:
    """Read a folder or a zip of images once and resize each to every size, as :func:`load_images` does."""
    found = _load(source, limit_per_class, None, sizes, labelled)
    return SizedImages(dict(zip(sizes, found, strict=True)))


def _load(
    source: Path,
    limit_per_class: int | None,
    limit: int | None,
    sizes: Sequence[int | None],
    labelled: bool,
) -> list[ImageSet]:
    values = [("limit_per_class", limit_per_class), ("limit", limit), *(("size", size) for size in sizes)]
    for name, value in values:
        if value is not None and value < 1:
            raise OptionError(f"must be at least 1, is {value}", subject=name)
    with open_source(source) as reader:
        files = [parts for parts in reader.files if Path(parts[-1]).suffix.lower() in SUFFIXES]
        groups = _by_class(files, reader.folders, source) if labelled else {"": files}
        if not any(groups.values()):
            raise ImagesError("holds no images", subject=str(source), hint=_suffix_hint())
        each = [n for n in (limit_per_class, limit and max(1, limit // len(groups))) if n is not None]
        chosen = [
            (parts, label if labelled else -1)
            for label, (_, found) in enumerate(sorted(groups.items()))
            for parts in _spread(sorted(found), min(each, default=None))
        ]
        read = _read_all(reader, _spread(chosen, limit), sizes, source)
    return [
        ImageSet(
            images=images,
            labels=read.labels,
            classes=tuple(sorted(groups)) if labelled else (),
            source=str(source),
            skipped=tuple(read.skipped),
            median_side=read.median_side,
        )
        for images in read.images
    ]


def resize(images: UInt8Array, image_size: int) -> UInt8Array:
    """uint8 ``[n, 3, h, w]`` to ``[n, 3, image_size, image_size]``: the centre square by PIL's BILINEAR."""
    if images.shape[2:] == (image_size, image_size):
        return images
    from PIL import Image

    result = np.empty((len(images), 3, image_size, image_size), dtype=np.uint8)
    for number, pixels in enumerate(images):
        picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        result[number] = _pixels(_square(picture, image_size))
    return result


def normalise(images: UInt8Array, mean: Sequence[float], std: Sequence[float]) -> Float32Array:
    """uint8 ``[n, 3, h, w]`` to float32: scaled to 0..1, minus ``mean``, divided by ``std``, per channel."""
    result = images.astype(np.float32)
    result /= np.float32(255.0)
    result -= np.asarray(mean, dtype=np.float32).reshape(1, 3, 1, 1)
    result /= np.asarray(std, dtype=np.float32).reshape(1, 3, 1, 1)
    return result


def preprocess(
    images: UInt8Array, image_size: int, mean: Sequence[float], std: Sequence[float]
) -> Float32Array:
    """uint8 ``[n, 3, h, w]`` to a network's input, float32 ``[n, 3, image_size, image_size]``."""
    return normalise(resize(images, image_size), mean, std)


# -- which images ----------------------------------------------------------------------------------


def _by_class(files: list[Parts], folders: list[Parts], source: Path) -> dict[str, list[Parts]]:
    """Image names by class folder; raises :class:`ImagesError` unless every image lies in one."""
    leading = {parts[0] for parts in (*files, *folders)}
    if len(leading) == 1 and all(len(parts) > 1 for parts in files) and any(len(p) > 2 for p in files):
        depth, folders = 2, [parts for parts in folders if len(parts) > 1]
    else:
        depth = 1
    groups: dict[str, list[Parts]] = {parts[depth - 1]: [] for parts in folders if len(parts) >= depth}
    for parts in files:
        if len(parts) != depth + 1:
            raise ImagesError(
                "is not in a class folder",
                subject=f"{source}: {'/'.join(parts)}",
                hint="use CLASS/IMAGE.jpg",
            )
        groups.setdefault(parts[depth - 1], []).append(parts)
    if files:
        for name, found in sorted(groups.items()):
            if not found:
                raise ImagesError(
                    "this class folder holds no images", subject=f"{source}: {name}", hint=_suffix_hint()
                )
    return groups


def _spread(items: list[Item], limit: int | None) -> list[Item]:
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


def _suffix_hint() -> str:
    return f"images end in {', '.join(sorted(SUFFIXES))}"


# -- reading ---------------------------------------------------------------------------------------


class _UnfitPixelsError(ValueError):
    """An intact picture that cannot be used."""


@dataclass(kw_only=True)
class _Read:
    images: list[UInt8Array]
    labels: NDArray[np.int64]
    skipped: list[str]
    median_side: float


def _read_all(
    reader: Source, chosen: list[tuple[Parts, int]], sizes: Sequence[int | None], source: Path
) -> _Read:
    """The chosen images at each of the sizes."""
    result: list[UInt8Array] = []
    labels: list[int] = []
    skipped: list[str] = []
    sides: list[int] = []
    for parts, label in chosen:
        name = "/".join(parts)
        try:
            found, side = _decode(reader.read(parts), sizes)
        except _UnfitPixelsError as error:
            skipped.append(f"{name} {error}")
            continue
        except Exception:  # PIL, zlib and zipfile each raise several unrelated types for damaged data
            skipped.append(name)
            continue
        if not result:
            result = _room(len(chosen), found, source)
        for array, pixels in zip(result, found, strict=True):
            if pixels.shape != array.shape[1:]:
                odd, wanted = ("x".join(map(str, s[:0:-1])) for s in (pixels.shape, array.shape[1:]))
                raise ImagesError(
                    f"is {odd} pixels, the images before it are {wanted}",
                    subject=f"{source}: {name}",
                    hint="give the `size` to resize all to",
                )
            array[len(labels)] = pixels
        labels.append(label)
        sides.append(side)
    if len(skipped) > UNREADABLE_LIMIT * len(chosen) or not result:
        shown = ", ".join(skipped[:_NAMED_AT_MOST]) + (", ..." if len(skipped) > _NAMED_AT_MOST else "")
        raise ImagesError(
            f"{len(skipped)} of {len(chosen)} images cannot be read ({shown})",
            subject=str(source),
            hint="remove or replace them; up to 1% are skipped",
        )
    return _Read(
        images=[array[: len(labels)] for array in result],
        labels=np.array(labels, dtype=np.int64),
        skipped=skipped,
        median_side=float(np.median(sides)),
    )


def _room(count: int, first: Sequence[UInt8Array], source: Path) -> list[UInt8Array]:
    try:
        return [np.empty((count, *pixels.shape), dtype=np.uint8) for pixels in first]
    except MemoryError as error:
        needed = count * sum(pixels.nbytes for pixels in first) / 2**30
        raise ImagesError(
            f"{count} images need {needed:.0f} GiB of memory, more than there is",
            subject=str(source),
            hint="use fewer images per class",
        ) from error


def _decode(data: bytes, sizes: Sequence[int | None]) -> tuple[list[UInt8Array], int]:
    """One image at each size as uint8 ``[3, height, width]``, and its original shorter side in pixels."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        if opened.width * opened.height > _MAX_PIXELS:
            raise _UnfitPixelsError("is too large")
        picture = _rgb(opened)
    return [_pixels(picture if s is None else _square(picture, s)) for s in sizes], min(picture.size)


def _rgb(opened: Image.Image) -> Image.Image:
    """The picture with 8 bits per channel. 16-bit grey is scaled, since PIL would clip it at 255."""
    from PIL import Image

    sixteen = opened.mode.startswith("I;16") or (opened.mode == "I" and opened.format == "PNG")
    if sixteen:
        return Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8)).convert("RGB")
    if opened.mode in ("I", "F"):
        raise _UnfitPixelsError("has 32 bits per pixel, whose range is not known")
    return opened.convert("RGB")


def _square(picture: Image.Image, size: int) -> Image.Image:
    """The centre square, resized: bilinear, antialiased."""
    from PIL import Image

    if picture.size == (size, size):
        return picture
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    # Cropped first: resize(box=...) also reads pixels outside its box.
    box = (left, top, left + side, top + side)
    return picture.crop(box).resize((size, size), Image.Resampling.BILINEAR)


def _pixels(picture: Any) -> UInt8Array:
    return np.asarray(picture, dtype=np.uint8).transpose(2, 0, 1)
