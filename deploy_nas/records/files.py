"""Reading and writing files: whole or not at all, and JSON with the path of what is wrong."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy_nas.core.errors import OutputError, RecordError, VersionError

_MAX_JSON_BYTES = 256 * 1024 * 1024


def check_output(path: Path, *, force: bool = False) -> None:
    """Raise :class:`OutputError` now if ``path`` could not be written later."""
    try:
        _check_output(path, force)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror or error})", subject=str(path)) from error


def _check_output(path: Path, force: bool) -> None:
    if path.is_dir():
        raise OutputError("is a folder", subject=str(path), hint="name a file")
    if path.exists() and not path.is_file():
        raise OutputError("is no regular file", subject=str(path), hint="name a file")
    if path.exists() and not force:
        raise OutputError("exists already", subject=str(path), hint="use --force to replace it")
    parent = path.parent
    if not parent.is_dir():
        raise OutputError(f"there is no folder {parent}", subject=str(path), hint="make it first")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"the folder {parent} cannot be written", subject=str(path))


def write_atomic(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write the whole file or leave what was there; raises :class:`OutputError`."""
    check_output(path, force=force)
    part = None
    try:
        descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(part).chmod(0o666 & ~umask)
        Path(part).replace(path)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror or error})", subject=str(path)) from error
    finally:
        if part is not None:
            with contextlib.suppress(FileNotFoundError):
                Path(part).unlink()


def write_json(path: Path, value: Mapping[str, Any], *, force: bool = False) -> None:
    """Write a JSON object atomically; NaN and infinity are refused."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomic(path, text.encode() + b"\n", force=force)


def read_bytes(path: Path) -> bytes:
    """The file's content; raises :class:`RecordError` naming it."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise RecordError("is too large to be one of ours", subject=str(path))
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot be read ({error.strerror or error})", subject=str(path)) from error


def read_json(path: Path) -> Fields:
    """The file's JSON object; raises :class:`RecordError` naming the file and what is wrong."""
    try:
        return Fields(parse_json(read_bytes(path)), str(path))
    except ValueError as error:
        raise RecordError(f"is not JSON, or cut short ({error})", subject=str(path)) from error


def parse_json(data: bytes) -> Any:
    """JSON as anyone can read and write it again; ``ValueError`` for NaN, infinity and half characters."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text, parse_constant=_no_constant)
        if "\\ud" in text.lower():  # an escape may be half a character, which no output can take
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return value


def check_format(fields: Fields, name: str, newest: int) -> int:
    """The format version of a file that says ``{"format": name, "version": n}``.

    Raises:
        RecordError: it says something else.
        VersionError: a version above ``newest``: a newer deploy-nas wrote it.
    """
    if fields.value.get("format") != name:
        raise RecordError(f"is no file of the format {name!r}", subject=fields.where)
    version = fields.integer("version", 1)
    if version > newest:
        raise VersionError(
            f"has format version {version}, this deploy-nas reads up to {newest}",
            subject=fields.where,
            hint="upgrade deploy-nas",
        )
    return version


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


class Fields:
    """A JSON object read with types; every error names the file and the key.

    Args:
        value: what was read; anything but an object is an error.
        where: file and key path so far.
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise RecordError(f"must be an object, is {type(value).__name__}", subject=where)
        self.value: dict[str, Any] = value
        self.where = where

    def _fail(self, key: str, wanted: str) -> RecordError:
        if key not in self.value:
            return RecordError(f"has no {key!r}", subject=self.where)
        found = repr(self.value[key])
        return RecordError(f"{key!r} must be {wanted}, is {found[:60]}", subject=self.where)

    def text(self, key: str) -> str:
        """A string."""
        value = self.value.get(key)
        if not isinstance(value, str):
            raise self._fail(key, "a string")
        return value

    def integer(self, key: str, least: int | None = None, most: int | None = None) -> int:
        """A whole number, at least ``least`` and at most ``most``."""
        value = self.value.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
            raise self._fail(
                key, "a whole number" if least is None else f"a whole number of at least {least}"
            )
        if most is not None and value > most:
            raise self._fail(key, f"a whole number of at most {most}")
        return value

    def number(self, key: str, *, positive: bool = False) -> float:
        """A finite number."""
        value = self.value.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            raise self._fail(key, "a finite number")
        if positive and value <= 0:
            raise self._fail(key, "a positive number")
        return float(value)

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self.value.get(key)
        if not isinstance(value, bool):
            raise self._fail(key, "true or false")
        return value

    def numbers(self, key: str, *, positive: bool = False) -> Sequence[float]:
        """A list of finite numbers."""
        return [self.at(key, i).number("value", positive=positive) for i in range(len(self.items(key)))]

    def integers(self, key: str) -> Sequence[int]:
        """A list of whole numbers."""
        return [self.at(key, i).integer("value") for i in range(len(self.items(key)))]

    def texts(self, key: str) -> Sequence[str]:
        """A list of strings."""
        return [self.at(key, i).text("value") for i in range(len(self.items(key)))]

    def items(self, key: str) -> Sequence[Any]:
        """A list of anything."""
        value = self.value.get(key)
        if not isinstance(value, list):
            raise self._fail(key, "a list")
        return value

    def at(self, key: str, index: int) -> Fields:
        """Item ``index`` of a list as ``{"value": item}``."""
        return Fields({"value": self.items(key)[index]}, f"{self.where}: {key}[{index}]")

    def fields(self, key: str) -> Fields:
        """An object."""
        value = self.value.get(key)
        if not isinstance(value, dict):
            raise self._fail(key, "an object")
        return Fields(value, f"{self.where}: {key}")

    def objects(self, key: str) -> Sequence[Fields]:
        """A list of objects."""
        return [Fields(v, f"{self.where}: {key}[{i}]") for i, v in enumerate(self.items(key))]

    def optional_text(self, key: str) -> str | None:
        """A string, or ``None`` where absent or null."""
        return None if self.value.get(key) is None else self.text(key)

    def optional_number(self, key: str) -> float | None:
        """A finite number, or ``None`` where absent or null."""
        return None if self.value.get(key) is None else self.number(key)
