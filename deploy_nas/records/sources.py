"""A common interface to folders and zips: the names of their files, and a method to read one.

Zips are read in place and never extracted, so an entry's name is never used as a path.
"""

from __future__ import annotations

import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy_nas.core.errors import ImagesError

MAX_FILE_BYTES = 64 * 1024 * 1024

Parts = tuple[str, ...]


class Source(ABC):
    """Files and folders as path parts, without those whose names begin with a dot."""

    files: list[Parts]
    folders: list[Parts]

    @abstractmethod
    def read(self, parts: Parts) -> bytes:
        """A file's content; raises ``ValueError`` above 64 MiB, and any error of reading it."""


class _Folder(Source):
    def __init__(self, root: Path) -> None:
        self.root = root
        self.files, self.folders = [], []
        self._walk(root, (), [])

    def _walk(self, folder: Path, parts: Parts, above: list[tuple[int, int]]) -> None:
        state = folder.stat()
        here = (state.st_dev, state.st_ino)
        if here in above:  # a link back up
            return
        for entry in sorted(folder.iterdir()):
            if _ignored(entry.name):
                continue
            if entry.is_dir():
                self.folders.append((*parts, entry.name))
                self._walk(entry, (*parts, entry.name), [*above, here])
            else:
                self.files.append((*parts, entry.name))

    def read(self, parts: Parts) -> bytes:
        path = self.root.joinpath(*parts)
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError("is too large")
        return path.read_bytes()


class _Zip(Source):
    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self.archive = archive
        self.entries: dict[Parts, zipfile.ZipInfo] = {}
        self.folders = []
        for info in archive.infolist():
            name = info.filename.replace("\\", "/")
            parts = tuple(part for part in name.split("/") if part not in ("", "."))
            if name.startswith("/") or ".." in parts or (parts and ":" in parts[0]):
                raise ImagesError(
                    f"has an entry outside the archive ({info.filename[:80]!r})",
                    subject=str(path),
                    hint="do not trust this zip",
                )
            if not parts or any(_ignored(part) for part in parts):
                continue
            if info.is_dir():
                self.folders.append(parts)
            else:
                self.entries[parts] = info
        self.files = list(self.entries)

    def read(self, parts: Parts) -> bytes:
        with self.archive.open(self.entries[parts]) as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ValueError("is too large")
        return data


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a folder or a zip; raises :class:`ImagesError` for anything else, or if reading fails."""
    try:
        if path.is_dir():
            yield _Folder(path)
        elif not path.exists():
            raise ImagesError("does not exist", subject=str(path), hint="name a folder or a zip")
        elif not zipfile.is_zipfile(path):
            raise ImagesError("is neither a folder nor a zip", subject=str(path))
        else:
            with _opened(path) as archive:
                yield _Zip(archive, path)
    except (OSError, zipfile.BadZipFile) as error:
        raise ImagesError(f"cannot be read ({error})", subject=str(path)) from error


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # zipfile, struct and codecs raise different ones for a damaged directory
        raise ImagesError(f"is not a zip, or is damaged ({error})", subject=str(path)) from error


def _ignored(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
