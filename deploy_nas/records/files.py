"""Read and write files: each is written whole or not at all, and errors in JSON name their key."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from deploy_nas.core.disk import exists_already, unwritable, write_whole
from deploy_nas.core.errors import OutputError, RecordError
from deploy_nas.core.fields import Fields, parse_json
from deploy_nas.core.reader import MOST_BYTES, MOST_JSON_BYTES, json_text, read_regular

_log = logging.getLogger(__name__)


def check_output(path: Path, *, force: bool = False) -> None:
    """Raise :class:`OutputError` now if ``path`` could not be written later."""
    try:
        _check_output(path, force)
    except OSError as error:
        raise unwritable(path, error) from error


def _check_output(path: Path, force: bool) -> None:
    if path.is_dir():
        raise OutputError("is a folder", subject=str(path), hint="name a file")
    if path.exists() and not path.is_file():
        raise OutputError("is not a regular file", subject=str(path), hint="name a file")
    if path.exists() and not force:
        raise exists_already(path)
    parent = path.parent
    if not parent.is_dir():
        raise OutputError(f"the folder {parent} does not exist", subject=str(path), hint="make it first")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"the folder {parent} cannot be written to", subject=str(path))


def make_folder(path: Path) -> None:
    """Make a folder for results, with those above it; raises :class:`OutputError` if it cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be made ({error.strerror})", subject=str(path)) from error
    if not os.access(path, os.W_OK):
        raise OutputError("cannot be written to", subject=str(path))


def write_atomic(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write the whole file, or leave the old one as it was; raises :class:`OutputError`.

    A file that holds just this already stays, without ``force`` too: a run that writes several files and was
    killed between them is completed so.
    """
    if not force and _holds(path, data):
        _log.info("%s is there already", path)
        return
    check_output(path, force=force)
    write_whole(path, data, replace=force)
    _log.info("wrote %s, %d bytes", path, len(data))


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and read_regular(path, len(data)) == data
    except OSError:
        return False


def write_json(path: Path, value: Mapping[str, object], *, force: bool = False) -> None:
    """Write a JSON object atomically; NaN and infinity are refused."""
    write_atomic(path, json_text(value, indent=1).encode() + b"\n", force=force)


def read_bytes(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """A regular file's content; raises :class:`RecordError` naming it, also for one that is too large."""
    _log.debug("reading %s", path)
    try:
        return read_regular(path, most_bytes)
    except OSError as error:
        raise RecordError(f"cannot be read ({error.strerror or error})", subject=str(path)) from error


def read_json(path: Path) -> Fields:
    """The file's JSON object; raises :class:`RecordError` naming the file and the fault."""
    try:
        return Fields(parse_json(read_bytes(path, MOST_JSON_BYTES)), str(path))
    except ValueError as error:
        raise RecordError(f"is not JSON, or is cut short ({error})", subject=str(path)) from error
