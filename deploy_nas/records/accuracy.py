"""Measured subnets: the file that ``accuracy collect`` writes and ``accuracy train`` reads.

JSON lines: a header, then one architecture per line with its ``top1`` in percent. Lines are only appended,
so an interrupted run loses at most the line being written: a last line without a newline is dropped. Each
line has its number and a digest: one that was damaged, edited or doubled is left out with a notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np

from deploy_nas.core.errors import ArchitectureError, MismatchError, RecordError
from deploy_nas.core.fields import Fields, check_format, parse_json
from deploy_nas.core.reader import MOST_JSON_BYTES
from deploy_nas.core.seals import check_format_sealed, lines_of, read_lines, tell_faults
from deploy_nas.core.space import FloatArray, IntArray, Space
from deploy_nas.core.spaces import get_space
from deploy_nas.records.files import check_output, read_bytes
from deploy_nas.records.line_file import LineFile

FORMAT = "deploy-nas measured subnets"
VERSION = 2
_SEALED_SINCE = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class AccuracyHeader:
    """The conditions of the measurements; they are comparable only if all are equal.

    Args:
        space: the search space.
        weights: hash of the supernet's weights.
        images: hash of the images accuracy was measured on.
        image_count: number of those images.
        calibration: hash of the images that recalibrated batch norm; empty for none.
    """

    space: Space
    weights: str
    images: str
    image_count: int
    calibration: str = ""

    def to_json(self) -> dict[str, object]:
        """The object of the first line."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "space": self.space.id,
            "weights": self.weights,
            "images": self.images,
            "image_count": self.image_count,
            "calibration": self.calibration,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class AccuracyData:
    """Measured subnets: ``encoded`` int64 ``[n, 1 + genes]``, ``top1_percent`` float64 ``[n]``."""

    header: AccuracyHeader
    encoded: IntArray
    top1_percent: FloatArray

    def __len__(self) -> int:
        return len(self.top1_percent)

    def first(self, count: int) -> AccuracyData:
        """The first ``count`` subnets."""
        return replace(self, encoded=self.encoded[:count], top1_percent=self.top1_percent[:count])

    def last(self, count: int) -> AccuracyData:
        """The last ``count`` subnets."""
        start = max(0, len(self) - count)
        return replace(self, encoded=self.encoded[start:], top1_percent=self.top1_percent[start:])


def load_accuracy_data(path: Path) -> AccuracyData:
    """Read measured subnets.

    Raises:
        RecordError: a missing file, a file of another kind, or an invalid line (NaN, a top-1 outside 0 to
            100, not an architecture of the space), which is named. Lines that were edited since deploy-nas
            wrote them are left out instead.
        MismatchError: the first line was edited.
        VersionError: a newer deploy-nas wrote it.
    """
    return _parse(_complete(read_bytes(path, MOST_JSON_BYTES)), str(path))[0]


def save_accuracy_data(data: AccuracyData, path: Path) -> None:
    """Write measured subnets to a new file; raises :class:`OutputError` if it exists."""
    check_output(path)
    with AccuracyWriter(path, data.header) as writer:
        for architecture, top1 in zip(data.header.space.decode(data.encoded), data.top1_percent, strict=True):
            writer.append(architecture, float(top1))


class AccuracyWriter:
    """Appends measured subnets to a new or existing file; a context manager.

    ``done`` holds the subnets that the file had when it was opened. An open file is locked against other
    writers.

    Raises:
        MismatchError: the file is of another space, weights or images.
        OutputError: the file cannot be written, or another run is writing it.
        RecordError: the file is of another kind, or has an invalid line.
    """

    def __init__(self, path: Path, header: AccuracyHeader) -> None:
        self.path, self.header = path, header
        self._file = LineFile(path, header.to_json(), self._read, most_bytes=MOST_JSON_BYTES)

    def _read(self, content: bytes) -> tuple[int, int]:
        complete = _complete(content)
        self.done, last_line = _parse(complete, str(self.path))
        for key, wanted in self.header.to_json().items():
            found = self.done.header.to_json()[key]
            if found != wanted:
                raise MismatchError(
                    f"was started with {key.replace('_', ' ')} {found!r}, not {wanted!r}",
                    subject=str(self.path),
                    hint="name another file, or use what it was started with",
                )
        return last_line, len(complete)

    def append(self, architecture: Mapping[str, object], top1_percent: float) -> None:
        """Add one subnet; it is on disk when this returns. Raises as :func:`load_accuracy_data`."""
        value = {**architecture, "top1": float(top1_percent)}
        _parse_row(Fields(value, str(self.path)), self.header.space)
        self._file.append(value)

    def close(self) -> None:
        """Close and unlock the file."""
        self._file.close()

    def __enter__(self) -> AccuracyWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _complete(content: bytes) -> bytes:
    """The content without an incomplete last line."""
    return content[: content.rfind(b"\n") + 1]


def _parse(content: bytes, where: str) -> tuple[AccuracyData, int]:
    """The measured subnets, and the number of the last line."""
    lines = lines_of(content)
    if not content:
        raise RecordError("is not a file of measured subnets, or is truncated", subject=where)
    header, all_sealed = _parse_header(lines[0], where)
    found = read_lines(lines[1:], where, all_sealed=all_sealed)
    tell_faults(found.faults, where)
    rows = [_parse_row(fields, header.space) for _, fields in found.held]
    data = AccuracyData(
        header=header,
        encoded=np.concatenate([r[0] for r in rows]) if rows else header.space.encode([]),
        top1_percent=np.array([r[1] for r in rows], dtype=np.float64),
    )
    return data, found.last


def _parse_header(line: bytes, where: str) -> tuple[AccuracyHeader, bool]:
    """The first line, and whether every line after it must have a digest."""
    where = f"{where}: line 1"
    try:
        fields = Fields(parse_json(line), where)
    except ValueError as error:
        raise RecordError(f"is not JSON ({error})", subject=where) from error
    check_format(fields, FORMAT, VERSION)
    held = check_format_sealed(fields, sealed_since=_SEALED_SINCE)
    header = AccuracyHeader(
        space=get_space(fields.text("space")),
        weights=fields.text("weights"),
        images=fields.text("images"),
        image_count=fields.integer("image_count", 1),
        calibration=fields.text("calibration"),
    )
    return header, held


def _parse_row(fields: Fields, space: Space) -> tuple[IntArray, float]:
    where = fields.where
    top1_percent = fields.number("top1")
    if not 0.0 <= top1_percent <= 100.0:
        raise RecordError(f"'top1' must be a percentage from 0 to 100, is {top1_percent}", subject=where)
    try:
        architecture = {key: value for key, value in fields.value.items() if key != "top1"}
        return space.encode([architecture]), top1_percent
    except ArchitectureError as error:
        raise RecordError(f"is not an architecture of {space.id} ({error})", subject=where) from error
