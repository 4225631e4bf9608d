"""The journal of a profiling run: a header line, then one line a burst, appended as they happen.

A run that ends anywhere (Ctrl-C, a kill) leaves whole lines and at most one cut one,
which reading drops. The next run of the same plan goes on from there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from deploy_nas.core.errors import MismatchError, OutputError, RecordError, VersionError
from deploy_nas.core.locks import lock
from deploy_nas.device.timing import Burst

FORMAT = "deploy-nas journal"
VERSION = 1

Bursts = dict[tuple[str, int], tuple[Burst, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalContent:
    """What a journal's whole lines (``whole_bytes`` of them) say; ``duration_s`` is the time spent timing."""

    header: dict[str, Any]
    bursts: Bursts
    whole_bytes: int
    duration_s: float


class Journal:
    """Bursts by ``(unit, round)``, on disk as soon as they are taken.

    Args:
        path: the file, made where it is not there.
        header: what the run is: ``plan`` (its id), ``fingerprint``, ``settings``. One that differs from
            the file's is a :class:`MismatchError`: times of two runs are never mixed.
        wait_s: how long to wait for another process that writes this journal.
        fresh: forget what the file holds, once no other process writes it.
        earlier: gives the whole lines of a finished run, ``None`` for none: an empty journal of the same run
            begins with them.
    """

    def __init__(
        self,
        path: Path,
        header: Mapping[str, Any],
        *,
        wait_s: float = 0.0,
        fresh: bool = False,
        earlier: Callable[[], bytes | None] | None = None,
    ) -> None:
        self.path = path
        self.header = {"format": FORMAT, "version": VERSION, **header}
        self.bursts: Bursts = {}
        self.duration_s = 0.0
        self._since = time.monotonic()
        self._file = _locked(path, wait_s)
        try:
            if fresh:
                self._file.truncate(0)
            elif earlier is not None and path.stat().st_size == 0 and (lines := earlier()):
                self._take(lines)
            self._begin()
        except BaseException:
            self._file.close()
            raise

    def _begin(self) -> None:
        """Read what is there and go on behind its last whole line, or write the header."""
        path = self.path
        known = path.stat().st_size > 0
        if known:
            found = read_journal(path)
            self.bursts, self.duration_s = found.bursts, found.duration_s
            if differing := self._differing(found.header):
                raise MismatchError(
                    f"holds another run's times ({differing[0]} differs)",
                    subject=str(path),
                    hint="finish that run, or remove the file to begin anew",
                )
            self.header = found.header
            self._file.truncate(found.whole_bytes)
        else:
            self._append(self.header)

    def _differing(self, header: Mapping[str, Any]) -> list[str]:
        return [k for k in ("plan", "fingerprint", "settings") if header.get(k) != self.header.get(k)]

    def _take(self, lines: bytes) -> None:
        """Begin with the lines of a run that was this one."""
        self._file.write(lines)
        self._file.flush()
        try:
            if not self._differing(read_journal(self.path).header):
                return
        except RecordError:
            pass
        self._file.truncate(0)

    def _append(self, value: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot be written ({error.strerror})",
            subject=str(self.path),
            hint="what was timed before is kept",
        )

    def add(self, unit: str, round_number: int, burst: Burst, sentinel_ms: float) -> None:
        """Keep one burst; ``sentinel_ms`` is what the sentinel took just before it."""
        sentinel_ms = round(sentinel_ms, 6)
        now = time.monotonic()
        took_s, self._since = now - self._since, now
        self.duration_s += took_s
        self.bursts.pop((unit, round_number), None)  # timed again: the order is that of time
        self.bursts[unit, round_number] = (burst, sentinel_ms)
        self._append(
            {
                "u": unit,
                "r": round_number,
                "n": burst.runs,
                "b": burst.busy,
                "s": sentinel_ms,
                "w": round(took_s, 4),
                "t": list(burst.points_ms),
            }
        )

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as fault:
            # A full disk was told already, by what could not be written.
            if kind is None:
                raise self._unwritable(fault) from fault


def _locked(path: Path, wait_s: float) -> IO[bytes]:
    """The file, open and this process's alone."""
    while True:
        try:
            file = path.open("a+b")
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", subject=str(path)) from error
        try:
            lock(file, path, wait_s)
            # A run that ended meanwhile has removed what it had locked: that is no file of this name now.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def read_journal(path: Path) -> JournalContent:
    """Read a journal; a cut last line is dropped.

    Raises:
        RecordError: no journal, or a line that is not one (named by number).
        VersionError: written by a newer deploy-nas.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot be read ({error.strerror})", subject=str(path)) from error
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].splitlines()
    try:
        header = json.loads(lines[0])
        if header["format"] != FORMAT:
            raise ValueError
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise RecordError(
            "is no journal of deploy-nas", subject=str(path), hint="remove it to begin anew"
        ) from error
    if header.get("version") != VERSION:
        raise VersionError(
            f"has format version {header.get('version')}, this one reads {VERSION}", subject=str(path)
        )
    bursts: Bursts = {}
    duration_s = 0.0
    for number, line in enumerate(lines[1:], 2):
        try:
            value = json.loads(line)
            points = tuple(float(t) for t in value["t"])
            if not points or not all(0.0 < t < 1e7 for t in points) or not 0.0 < float(value["s"]) < 1e7:
                raise ValueError
            took_s = float(value.get("w", 0.0))
            if not 0.0 <= took_s < 1e7:
                raise ValueError
            duration_s += took_s
            burst = Burst(runs=int(value["n"]), points_ms=points, busy=float(value["b"]))
            key = (str(value["u"]), int(value["r"]))
            bursts.pop(key, None)
            bursts[key] = (burst, float(value["s"]))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise RecordError(f"line {number} is damaged", subject=str(path)) from error
    return JournalContent(header=header, bursts=bursts, whole_bytes=whole, duration_s=duration_s)
