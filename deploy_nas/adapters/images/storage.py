"""Room for the arrays of a reading: in memory where it fits, else in files that are mapped."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deploy_nas.adapters.images.pixels import UInt8Array
from deploy_nas.core.disk import temporary_folder
from deploy_nas.core.errors import ImagesError
from deploy_nas.device.memory import available_bytes, is_in_memory

# Whoever takes the images needs memory too: a network, its activations, a batch in float32.
_SHARE_OF_MEMORY = 0.5
_GIB = 2.0**30

Shape = tuple[int, ...]


def room_for(shapes: Sequence[Shape], store: Path | None, source: str) -> list[UInt8Array]:
    """Arrays of these shapes, uint8, to be filled.

    They are files ``images-SIDE.npy`` in ``store``, if one is given; in memory, if they take at most half
    of what is available; else in a temporary folder on a disk, which goes when the arrays are no longer used.

    Args:
        shapes: one ``[n, 3, height, width]`` for each array.
        store: a folder, made if it is missing; files in it of these names are replaced.
        source: for errors.

    Raises:
        ImagesError: not enough room, or a folder that cannot be written; it says how much is needed.
    """
    needed = sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes)
    if store is not None:
        return _in_files(shapes, store, needed, source)
    available = available_bytes()
    if available is None or needed <= _SHARE_OF_MEMORY * available:
        try:
            return [np.empty(shape, dtype=np.uint8) for shape in shapes]
        except MemoryError:
            available = 0
    if (place := _disk_with(needed)) is None:
        raise ImagesError(
            f"{shapes[0][0]} images need {needed / _GIB:.1f} GiB, more than there is: "
            f"{available / _GIB:.1f} GiB of memory are free, and too little of the temporary folder's disk",
            subject=source,
            hint="use fewer images, or set TMPDIR to a folder on a larger disk",
        )
    return _in_temporary_files(shapes, place, needed, source)


def _in_files(shapes: Sequence[Shape], folder: Path, needed: int, source: str) -> list[UInt8Array]:
    arrays: list[UInt8Array] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"images-{'x'.join(map(str, _sides(shape)))}.npy" for shape in shapes]
        for path in paths:
            path.unlink(missing_ok=True)  # a set that still maps the old file keeps it
        if (free := shutil.disk_usage(folder).free) < needed:
            raise ImagesError(
                f"{shapes[0][0]} images need {needed / _GIB:.1f} GiB, its disk has {free / _GIB:.1f} free",
                subject=str(folder),
                hint="use fewer images, or a folder on a larger disk",
            )
        for path, shape in zip(paths, shapes, strict=True):
            arrays.append(np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape))
    except OSError as error:
        raise ImagesError(f"cannot keep {source} ({error.strerror or error})", subject=str(folder)) from error
    return arrays


def _in_temporary_files(shapes: Sequence[Shape], place: Path, needed: int, source: str) -> list[UInt8Array]:
    if os.name == "posix":  # mapped files stay until they are let go, even if this process is killed
        with temporary_folder(place) as kept:
            return _in_files(shapes, kept, needed, source)
    folder = Path(tempfile.mkdtemp(prefix="deploy-nas-", dir=place))
    try:
        arrays = _in_files(shapes, folder, needed, source)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(arrays[0], shutil.rmtree, folder, ignore_errors=True)
    return arrays


def _disk_with(needed: int) -> Path | None:
    """A folder for temporary files with this much room, but not one that is kept in memory itself."""
    for place in (Path(tempfile.gettempdir()), Path("/var/tmp")):  # noqa: S108 - named by mkdtemp
        if place.is_dir() and not is_in_memory(place) and shutil.disk_usage(place).free >= needed:
            return place
    return None


def _sides(shape: Shape) -> Shape:
    """Height and width, once if they are the same."""
    return shape[2:] if shape[2] != shape[3] else shape[3:]
