"""Zips that would expand far beyond their size, found before anything is expanded."""

from __future__ import annotations

import io
import zipfile

_SMALL_BYTES = 16 * 1024**2
_MOST_EXPANSION = 8  # weights hardly shrink


def expanded_bytes(archive: zipfile.ZipFile) -> int:
    """The size of all its files as it states them; ``zipfile`` expands no file beyond that."""
    return sum(info.file_size for info in archive.infolist())


def is_bomb(archive: zipfile.ZipFile, packed_bytes: int) -> bool:
    """Whether the archive, of ``packed_bytes``, expands further than files of weights do."""
    return expanded_bytes(archive) > _SMALL_BYTES + _MOST_EXPANSION * packed_bytes


def holds_bomb(data: bytes) -> bool:
    """:func:`is_bomb` of a file's content; false for what is not a zip."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return is_bomb(archive, len(data))
    except Exception:  # zipfile and struct raise several unrelated types for other files
        return False
