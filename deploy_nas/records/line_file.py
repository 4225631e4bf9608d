"""A file of sealed JSON lines that grows: each line is on disk when it was added."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from deploy_nas.core.errors import OutputError
from deploy_nas.core.fields import JsonObject
from deploy_nas.core.locks import lock
from deploy_nas.core.reader import MOST_BYTES, json_text
from deploy_nas.core.seals import sealed, sealed_line
from deploy_nas.records.files import check_output, read_bytes


class LineFile:
    """A new or existing file, open to be added to, and locked against other writers.

    Args:
        path: of the file.
        first: the first line of a new file, and of one whose run was killed within that line.
        read: reads the content; returns the number of its last line and how many bytes are whole lines. What
            comes after those is cut off.
        most_bytes: a larger file is refused.

    Raises:
        OutputError: it cannot be written, or another run is writing it.
        DeployNASError: from ``read``; the file is left as it is.
    """

    def __init__(
        self,
        path: Path,
        first: JsonObject,
        read: Callable[[bytes], tuple[int, int]],
        *,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._path = path
        check_output(path, force=True)
        try:
            self._file: IO[bytes] = path.open("a+b")
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", subject=str(path)) from error
        try:
            lock(self._file, path)
            content, begin = read_bytes(path, most_bytes), json_text(sealed(first)).encode() + b"\n"
            if begin.startswith(content):
                self._file.truncate(0)
                self._write(begin)
                content = begin
            self._last_line, whole_bytes = read(content)
            self._file.truncate(whole_bytes)
        except BaseException:
            self._file.close()
            raise

    def append(self, value: JsonObject) -> None:
        """Add a line; it is on disk when this returns. Raises :class:`OutputError`."""
        self._write(sealed_line(value, self._last_line + 1))
        self._last_line += 1

    def close(self) -> None:
        """Close and unlock the file."""
        self._file.close()

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", subject=str(self._path)) from error
