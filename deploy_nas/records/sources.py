"""A common interface to folders and zips: the names of their files, and a method to read one.

Zips are read in place and never extracted, so an entry's name is never used as a path.
"""

from __future__ import annotations

import errno
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy_nas.core.errors import ImagesError
from deploy_nas.core.reader import name_text, open_regular

MAX_FILE_BYTES = 64 * 1024 * 1024

Parts = tuple[str, ...]

_IGNORED = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075  # Info-ZIP's extra field: a name in UTF-8 beside one in another encoding


class Source(ABC):
    """Files and folders as path parts, without those that systems add: hidden ones, __MACOSX, Thumbs.db."""

    files: list[Parts]
    folders: list[Parts]

    @abstractmethod
    def read(self, parts: Parts) -> bytes:
        """A regular file's content.

        Raises ``ValueError`` above 64 MiB and for anything but a regular file, which is not opened; and any
        error of reading it.
        """


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
            _check_text(entry.name, self.root)
            if entry.is_dir():
                self.folders.append((*parts, entry.name))
                self._walk(entry, (*parts, entry.name), [*above, here])
            else:
                self.files.append((*parts, entry.name))

    def read(self, parts: Parts) -> bytes:
        try:
            file = open_regular(self.root.joinpath(*parts))
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EISDIR):
                raise ValueError("is not a regular file") from error
            raise
        with file:
            return _bounded(file.read(MAX_FILE_BYTES + 1))


class _Zip(Source):
    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self.archive = archive
        self.entries: dict[Parts, zipfile.ZipInfo] = {}
        self.folders = []
        for info in archive.infolist():
            name = info.filename.replace("\\", "/")
            if _hidden(name):
                continue
            name = _certain_name(info, path).replace("\\", "/")
            parts = tuple(part for part in name.split("/") if part not in ("", "."))
            if name.startswith("/") or ".." in parts or (parts and ":" in parts[0]):
                raise ImagesError(
                    f"has an entry outside the archive ({info.filename[:80]!r})",
                    subject=str(path),
                    hint="do not trust this zip",
                )
            if not parts:
                continue
            if info.is_dir():
                self.folders.append(parts)
            else:
                self.entries[parts] = info
        self.files = list(self.entries)

    def read(self, parts: Parts) -> bytes:
        info = self.entries[parts]
        if stat.S_IFMT(mode := info.external_attr >> 16):  # 0 in zips of systems without file types
            _check_regular(mode)
        with self.archive.open(info) as file:
            return _bounded(file.read(MAX_FILE_BYTES + 1))


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a folder or a zip.

    Raises:
        ImagesError: anything else, a name whose encoding is not known, or a failure to read.
    """
    try:
        if path.is_dir():
            yield _Folder(path)
        elif not path.exists():
            raise ImagesError("does not exist", subject=str(path), hint="name a folder or a zip")
        elif not path.is_file() or not zipfile.is_zipfile(path):
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


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ValueError("is not a regular file")


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"is larger than {MAX_FILE_BYTES >> 20} MiB")
    return data


# -- names -----------------------------------------------------------------------------------------


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED


def _hidden(name: str) -> bool:
    return any(_ignored(part) for part in name.split("/") if part not in ("", ".", ".."))


def _check_text(name: str, root: Path) -> None:
    """Raise :class:`ImagesError` for a name that is not UTF-8: it could not be compared, printed or kept."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ImagesError(
            f"the name {name_text(name)!r} is not UTF-8", subject=str(root), hint="rename it in UTF-8"
        ) from error


def _certain_name(info: zipfile.ZipInfo, path: Path) -> str:
    """The entry's name; raises :class:`ImagesError` if its encoding is not known.

    Without its flag for UTF-8 a name is in any code page: zipfile takes it for cp437, and would sort the
    class folders of a Chinese zip in another order than the folder they were zipped from.
    """
    if info.orig_filename.isascii() or info.flag_bits & _UTF8_FLAG:
        return info.filename
    raw = info.orig_filename.encode("cp437")
    if (name := _unicode_name(info.extra, raw)) is not None:
        return name
    shown = raw.decode("ascii", "backslashreplace")
    raise ImagesError(
        f"does not say how the name of its entry {shown[:80]!r} is encoded",
        subject=str(path),
        hint="unzip it and name the folder, or zip it again with names in UTF-8",
    )


def _unicode_name(extra: bytes, raw: bytes) -> str | None:
    """The name in Info-ZIP's extra field, if it is of the name ``raw``."""
    while len(extra) >= 4:
        kind, length = (int.from_bytes(extra[at : at + 2], "little") for at in (0, 2))
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and int.from_bytes(field[1:5], "little") == zlib.crc32(raw):
            try:
                return field[5:].decode()
            except UnicodeDecodeError:
                return None
    return None
