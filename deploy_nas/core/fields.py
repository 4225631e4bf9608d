"""JSON objects read with types; every error names the file and the key.

Dicts exist only where a file is read or written: its reader turns them into values through :class:`Fields`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from deploy_nas.core.errors import RecordError, VersionError
from deploy_nas.core.reader import shown, text_of

JsonObject = Mapping[str, object]

_LARGEST = 2**63 - 1


class Fields:
    """A JSON object whose values are read by type.

    Args:
        value: the parsed JSON; anything but an object raises :class:`RecordError`.
        where: file and key path of the object, for errors.
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise RecordError(f"must be an object, is {type(value).__name__}", subject=where)
        self.value: dict[str, object] = value
        self.where = where

    def wrong(self, key: str, wanted: str) -> RecordError:
        """The error for a key that is missing or is not ``wanted``, a noun phrase."""
        if key not in self.value:
            return RecordError(f"has no {key!r}", subject=self.where)
        return RecordError(f"{key!r} must be {wanted}, is {shown(self.value[key])}", subject=self.where)

    def text(self, key: str) -> str:
        """A string."""
        value = self.value.get(key)
        if not isinstance(value, str):
            raise self.wrong(key, "a string")
        return value

    def integer(self, key: str, least: int | None = None, most: int | None = None) -> int:
        """A whole number of 64 bits, at least ``least`` and at most ``most``."""
        value = self.value.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
            raise self.wrong(
                key, "a whole number" if least is None else f"a whole number of at least {least}"
            )
        if most is not None and value > most:
            raise self.wrong(key, f"a whole number of at most {most}")
        if not -_LARGEST <= value <= _LARGEST:
            raise self.wrong(key, "a whole number of 64 bits")
        return value

    def number(self, key: str, *, positive: bool = False, most: float | None = None) -> float:
        """A finite number, whose absolute value is at most ``most``."""
        value = self.value.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            raise self.wrong(key, "a finite number")
        if positive and value <= 0:
            raise self.wrong(key, "a positive number")
        if most is not None and abs(value) > most:
            raise self.wrong(key, f"a number of at most {most:g}")
        return float(value)

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self.value.get(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def numbers(self, key: str, *, positive: bool = False, most: float | None = None) -> Sequence[float]:
        """A list of finite numbers, whose absolute values are at most ``most``."""
        count = len(self.items(key))
        return [self.at(key, i).number("value", positive=positive, most=most) for i in range(count)]

    def integers(self, key: str) -> Sequence[int]:
        """A list of whole numbers."""
        return [self.at(key, i).integer("value") for i in range(len(self.items(key)))]

    def texts(self, key: str) -> Sequence[str]:
        """A list of strings."""
        return [self.at(key, i).text("value") for i in range(len(self.items(key)))]

    def items(self, key: str) -> Sequence[object]:
        """A list of any values."""
        value = self.value.get(key)
        if not isinstance(value, list):
            raise self.wrong(key, "a list")
        return value

    def at(self, key: str, index: int) -> Fields:
        """Item ``index`` of a list as ``{"value": item}``."""
        return Fields({"value": self.items(key)[index]}, f"{self.where}: {key}[{index}]")

    def fields(self, key: str) -> Fields:
        """An object."""
        value = self.value.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return Fields(value, f"{self.where}: {key}")

    def objects(self, key: str) -> Sequence[Fields]:
        """A list of objects."""
        return [Fields(v, f"{self.where}: {key}[{i}]") for i, v in enumerate(self.items(key))]

    def holds(self, key: str) -> bool:
        """Whether the key is present with a value other than null."""
        return self.value.get(key) is not None

    def optional_text(self, key: str) -> str | None:
        """A string, or ``None`` where absent or null."""
        return self.text(key) if self.holds(key) else None

    def optional_number(self, key: str, *, positive: bool = False) -> float | None:
        """A finite number, or ``None`` where absent or null."""
        return self.number(key, positive=positive) if self.holds(key) else None

    def optional_integer(self, key: str, least: int | None = None, most: int | None = None) -> int | None:
        """A whole number, or ``None`` where absent or null."""
        return self.integer(key, least, most) if self.holds(key) else None

    def optional_boolean(self, key: str) -> bool | None:
        """True or false, or ``None`` where absent or null."""
        return self.boolean(key) if self.holds(key) else None

    def text_map(self, key: str) -> dict[str, str]:
        """An object of strings."""
        inner = self.fields(key)
        return {name: inner.text(name) for name in inner.value}

    def number_map(self, key: str, *, positive: bool = False) -> dict[str, float]:
        """An object of finite numbers."""
        inner = self.fields(key)
        return {name: inner.number(name, positive=positive) for name in inner.value}


def parse_json(data: bytes) -> object:
    """Portable JSON in UTF-8; raises ``ValueError`` for NaN, infinity, lone surrogates, other encodings."""
    try:
        text = text_of(data)
        value: object = json.loads(text, parse_constant=_no_constant)
        if "\\ud" in text.lower():  # an escape may be a lone surrogate, which cannot be encoded again
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def check_format(fields: Fields, name: str, newest: int) -> int:
    """The format version of a file that says ``{"format": name, "version": n}``.

    Raises:
        RecordError: the file is of another format.
        VersionError: its version is above ``newest``: a newer deploy-nas wrote it.
    """
    if fields.value.get("format") != name:
        raise RecordError(f"is not a file of the format {name!r}", subject=fields.where)
    version = fields.integer("version", 1)
    if version > newest:
        raise VersionError(
            f"has format version {version}, this deploy-nas reads up to {newest}",
            subject=fields.where,
            hint="upgrade deploy-nas",
        )
    return version


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False
