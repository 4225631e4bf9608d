"""OFA's published latency tables: one YAML file per image size.

``ofa``'s own ``LatencyTable`` classes call ``yaml.load(f)``, which fails with PyYAML 6. Here
``SafeLoader`` reads the files, which accepts only plain values.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy_nas.core.errors import RecordError
from deploy_nas.records.files import read_bytes

_NAME = re.compile(r"(\d+)_lookup_table\.ya?ml")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
    data = read_bytes(path)
    try:
        value = yaml.load(data, Loader=_LOADER)  # noqa: S506 - the C form of SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RecordError(f"is not plain YAML, or cut short ({line})", subject=str(path)) from error
    if not isinstance(value, dict) or not value:
        raise RecordError("is not a latency table of OFA: it names no layers", subject=str(path))
    timings = {str(key): _timing(entry, f"{path}: {key}") for key, entry in value.items()}
    return TableFile(path=path, sha256=hashlib.sha256(data).hexdigest(), timings=timings)


def _timing(entry: Any, where: str) -> Timing:
    if not isinstance(entry, dict):
        raise RecordError("must have a 'mean'", subject=where)
    numbers = {}
    for name, default in (("mean", None), ("std", 0.0), ("count", 1)):
        number = entry.get(name, default)
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise RecordError(f"{name!r} must be a finite number, is {number!r}", subject=where)
        numbers[name] = number
    if numbers["mean"] <= 0 or numbers["std"] < 0 or numbers["count"] < 1:
        raise RecordError(
            f"mean and count must be positive, std not negative: {entry!r}"[:200], subject=where
        )
    return Timing(mean_ms=float(numbers["mean"]), std_ms=float(numbers["std"]), count=int(numbers["count"]))
