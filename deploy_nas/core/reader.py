"""The one way to read a file: a regular one, of a limited size, and its bytes as text.

A pipe, a socket or a device in place of a file would wait, act, or never end.
"""

from __future__ import annotations

import codecs
import errno
import json
import os
import re
import reprlib
import shlex
import stat
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 256 * 1024 * 1024
MOST_JSON_BYTES = 64 * 1024 * 1024
"""JSON takes up to 22 times its bytes once it is parsed."""

_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_KINDS = (
    (stat.S_ISDIR, "it is a folder"),
    (stat.S_ISFIFO, "it is a pipe, not a regular file"),
    (stat.S_ISSOCK, "it is a socket, not a regular file"),
    (stat.S_ISCHR, "it is a device, not a regular file"),
    (stat.S_ISBLK, "it is a device, not a regular file"),
)
# UTF-32 first: its mark begins with UTF-16's.
_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def open_regular(path: Path) -> BinaryIO:
    """A regular file, opened to be read; raises ``OSError`` at once for anything else."""
    try:
        # Looked at before it is opened, too: a device may act on being opened.
        _check_regular(Path(path).stat().st_mode)
        file = os.fdopen(os.open(path, _READ), "rb")
    except ValueError as error:  # a zero byte in the path
        raise OSError(errno.EINVAL, "its path is not valid") from error
    try:
        _check_regular(os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def read_regular(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a regular file; raises ``OSError`` for anything else and above ``most_bytes``."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size <= most_bytes:
            data = file.read(most_bytes + 1)
            if len(data) <= most_bytes:
                return data
    limit = f"{most_bytes >> 20} MiB" if most_bytes >= 1 << 20 else f"{most_bytes} bytes"
    raise OSError(errno.EFBIG, f"it is larger than {limit}")


def text_of(data: bytes) -> str:
    """UTF-8 text, with or without a byte-order mark; raises ``ValueError`` naming any other encoding."""
    for mark, name in _OTHER_MARKS:
        if data.startswith(mark):
            raise ValueError(f"its encoding is {name}: save it as UTF-8")
    if b"\0" in data[:2]:  # the first character is plain ASCII in every file that is read here
        raise ValueError("its encoding is UTF-16 or UTF-32: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"its encoding is not UTF-8 (byte {error.start + 1})") from error


def shown(value: object) -> str:
    """A value of a file as a short text for a message, however large or deep it is."""
    try:
        return _SHORT.repr(value)
    except (ValueError, RecursionError):  # a whole number of too many digits
        return f"a {type(value).__name__} that is too large to show"


def name_text(name: str | Path) -> str:
    """A path, or a text with one in it, that can be written: a byte that is not UTF-8 is ``\\xff``."""
    return _ODD_BYTE.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", str(name))


def plain_text(text: str) -> str:
    """A text without control characters, which are written out as in ``\\x1b``; line ends and tabs stay."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), name_text(text))


def shell_quoted(path: str | Path) -> str:
    """A path as a shell takes it, in text: a byte that is not UTF-8 as bash writes it, ``$'\\xff'``."""
    text = str(path)
    if not _ODD_BYTE.search(text):
        return shlex.quote(text)
    return "$'" + name_text(text.replace("\\", r"\\").replace("'", r"\'")) + "'"


def json_text(value: object, indent: int | None = None) -> str:
    """A value as JSON, with names as :func:`name_text`; raises ``ValueError`` for NaN and infinity."""
    text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False)
    return _ODD_BYTE.sub(lambda found: f"\\\\x{ord(found[0]) - 0xDC00:02x}", text)


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((text for is_kind, text in _KINDS if is_kind(mode)), "it is not a regular file")
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, kind)


# What Python makes of a byte of a name that is not UTF-8.
_ODD_BYTE = re.compile("[\udc80-\udcff]")
# Control characters (but tabs and ends of lines), characters that reorder what follows, and halves of pairs.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 60
