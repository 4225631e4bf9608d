"""OFA's published latency tables: one YAML file per image size.

``ofa``'s own ``LatencyTable`` classes call ``yaml.load(f)``, which fails with PyYAML 6. Here
``SafeLoader`` reads the files, which accepts only plain values.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy_nas.core.errors import RecordError
from deploy_nas.core.reader import shown
from deploy_nas.records.files import read_bytes

_NAME = re.compile(r"(\d+)_lookup_table\.ya?ml")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_BYTES = 8 * 1024 * 1024
_MOST = 1e7  # ms, and runs: far above any layer's
_HUGE = 1e300


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """The entry of one layer: mean and standard deviation in ms over ``count`` runs."""

    mean_ms: float
    std_ms: float
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TableFile:
    """One table, as read from its file."""

    path: Path
    sha256: str
    timings: dict[str, Timing]


def read_ofa_tables(folder: Path) -> dict[int, TableFile]:
    """Read every ``SIZE_lookup_table.yaml`` in ``folder``; returns tables by image size, ascending.

    Raises:
        RecordError: the folder is missing or has no tables, or a file is not a table; names file and key.
    """
    try:
        named = {int(m[1]): p for p in sorted(folder.iterdir()) if (m := _NAME.fullmatch(p.name))}
    except OSError as error:
        raise RecordError(f"cannot be read ({error.strerror or error})", subject=str(folder)) from error
    if not named:
        raise RecordError(
            "contains no latency tables of OFA",
            subject=str(folder),
            hint="their names are SIZE_lookup_table.yaml, for instance 160_lookup_table.yaml",
        )
    return {size: _read(named[size]) for size in sorted(named)}


def _read(path: Path) -> TableFile:
    data = read_bytes(path, _MOST_BYTES)
    try:
        _check_plain(data)
        value = yaml.load(data, Loader=_LOADER)  # noqa: S506 - the C form of SafeLoader
    except Exception as error:  # its constructors raise several unrelated types, such as AttributeError
        line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise RecordError(f"is not plain YAML, or cut short ({line})", subject=str(path)) from error
    if not isinstance(value, dict) or not value:
        raise RecordError("is not a latency table of OFA: it names no layers", subject=str(path))
    timings = {str(key): _timing(entry, f"{path}: {str(key)[:200]}") for key, entry in value.items()}
    return TableFile(path=path, sha256=hashlib.sha256(data).hexdigest(), timings=timings)


def _check_plain(data: bytes) -> None:
    """Raise ``ValueError`` for what a table never has, and what a small file can grow without limit by."""
    depth = 0
    for event in yaml.parse(data, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ValueError("it has aliases")
        if getattr(event, "tag", None) is not None:
            raise ValueError("it has tags")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > 3:
            raise ValueError("it is nested too deeply")


def _timing(entry: Any, where: str) -> Timing:
    if not isinstance(entry, dict):
        raise RecordError("must have a 'mean'", subject=where)
    numbers = {}
    for name, default in (("mean", None), ("std", 0.0), ("count", 1)):
        number = entry.get(name, default)
        if isinstance(number, bool) or not isinstance(number, int | float) or not -_HUGE <= number <= _HUGE:
            raise RecordError(f"{name!r} must be a finite number, is {shown(number)}", subject=where)
        if number > _MOST:
            raise RecordError(f"{name!r} must be at most {_MOST:g}, is {shown(number)}", subject=where)
        numbers[name] = number
    if numbers["mean"] <= 0 or numbers["std"] < 0 or numbers["count"] < 1:
        raise RecordError(f"mean and count must be positive, std not negative: {shown(entry)}", subject=where)
    return Timing(mean_ms=float(numbers["mean"]), std_ms=float(numbers["std"]), count=int(numbers["count"]))
