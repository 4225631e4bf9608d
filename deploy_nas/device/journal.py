"""The journal of a profiling run: a header line, then one line per burst, appended as they happen.

However a run ends (Ctrl-C, a kill), it leaves whole lines and at most one incomplete line, which is dropped
when the file is read. The next run of the same plan goes on from there. Each line carries its number and a
digest: a line that was damaged or edited is left out with a notice, and its burst is timed again. A journal
that is removed or cut while its run goes on is written again, whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import MismatchError, OutputError, RecordError, VersionError
from deploy_nas.core.fields import Fields, JsonObject, parse_json
from deploy_nas.core.fingerprint import Fingerprint
from deploy_nas.core.locks import lock
from deploy_nas.core.plan_arguments import PlanArguments
from deploy_nas.core.reader import MOST_JSON_BYTES, json_text, read_regular, shown
from deploy_nas.core.seals import LEFT_OUT, check_seal, lines_of, read_lines, sealed, sealed_line, tell_faults
from deploy_nas.core.settings import Settings
from deploy_nas.device.timing import Burst

FORMAT = "deploy-nas journal"
VERSION = 2
_UNSEALED_VERSION = 1  # lines without digests

Bursts = dict[tuple[str, int], tuple[Burst, float]]
"""Burst, and the sentinel's latency just before it in ms, by unit and round, in order of time."""

_LONGEST = 1e7
_MOST_ROUNDS = 1_000_000
_SAVED = ".saved"


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalHeader:
    """The run that a journal belongs to.

    Args:
        plan: the plan's id.
        fingerprint: the device's.
        settings: how the plan is timed.
        created: when the run began, ISO 8601.
        arguments: the plan's; a kit's journal has them, so that the plan can be made again elsewhere.
        conditions: threads, cores and quota when the run began; ``None``: not recorded.
    """

    plan: str
    fingerprint: Fingerprint
    settings: Settings
    created: str = ""
    arguments: PlanArguments | None = None
    conditions: Conditions | None = None

    def differs_from(self, other: JournalHeader) -> str | None:
        """The first part in which the runs differ; ``None`` if they are the same run, whenever it began."""
        for name in ("plan", "fingerprint", "settings"):
            if getattr(self, name) != getattr(other, name):
                return name
        return None

    def to_json(self) -> JsonObject:
        """The first line's object."""
        value: JsonObject = {
            "format": FORMAT,
            "version": VERSION,
            "plan": self.plan,
            "fingerprint": self.fingerprint.to_json(),
            "settings": self.settings.to_json(),
            **({} if self.arguments is None else {"arguments": self.arguments.to_json()}),
            **({} if self.conditions is None else {"conditions": self.conditions.to_json()}),
            "created": self.created,
        }
        return sealed(value)

    @classmethod
    def from_json(cls, fields: Fields) -> JournalHeader:
        """From the first line's object; raises :class:`RecordError` naming the key."""
        return cls(
            plan=fields.text("plan"),
            fingerprint=Fingerprint.from_json(fields.fields("fingerprint")),
            settings=Settings.from_json(fields.fields("settings")),
            created=fields.text("created"),
            arguments=PlanArguments.from_json(fields.fields("arguments"))
            if fields.holds("arguments")
            else None,
            conditions=Conditions.from_json(fields.fields("conditions"))
            if fields.holds("conditions")
            else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalContent:
    """A journal's whole lines, which take ``whole_bytes``; ``duration_s`` is the time spent timing.

    ``last_line`` is the number of the last one.
    """

    header: JournalHeader
    bursts: Bursts
    whole_bytes: int
    duration_s: float
    last_line: int = 1


class Journal:
    """Bursts by ``(unit, round)``, on disk as soon as they are taken.

    Args:
        path: the file; it is created if missing.
        header: the run. A file of another run raises :class:`MismatchError`: times of runs are never mixed.
        wait_s: how long to wait for another process that writes this journal.
        fresh: discard the file's content, once no other process writes it.
        earlier: returns the lines of a finished run, or ``None``; an empty journal of the same run begins
            with them.
    """

    def __init__(
        self,
        path: Path,
        header: JournalHeader,
        *,
        wait_s: float = 0.0,
        fresh: bool = False,
        earlier: Callable[[], bytes | None] | None = None,
    ) -> None:
        self.path = path
        self.header = header
        self.bursts: Bursts = {}
        self.duration_s = 0.0
        self._last_line = 1
        self._content = bytearray()  # of the file, as it must be
        self._since = time.monotonic()
        self._file = _locked(path, wait_s)
        self._place = os.fstat(self._file.fileno())
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
        """Read the file and go on after its last whole line, or write the header."""
        if self.path.stat().st_size == 0:
            JournalHeader.from_json(Fields(self.header.to_json(), str(self.path)))  # as it will be read
            self._append(json_text(self.header.to_json()).encode() + b"\n")
            return
        data = _read(self.path)
        found = parse_journal(data, str(self.path))
        self.bursts, self.duration_s = found.bursts, found.duration_s
        self._last_line = found.last_line
        if differing := self.header.differs_from(found.header):
            raise MismatchError(
                f"holds another run's times ({differing} differs)",
                subject=str(self.path),
                hint="finish that run, or remove the file to start over",
            )
        self.header = found.header
        self._file.truncate(found.whole_bytes)
        self._content = bytearray(data[: found.whole_bytes])

    def _take(self, lines: bytes) -> None:
        """Begin with the lines of a finished run, if it is the same run."""
        try:
            if self.header.differs_from(parse_journal(lines, str(self.path)).header):
                return
        except RecordError:
            return
        self._file.write(lines)
        self._file.flush()

    def _append(self, line: bytes) -> None:
        self.keep()
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error
        self._content += line

    def keep(self) -> None:
        """Write the file again if it was removed or changed by anything but this run.

        Raises:
            OutputError: it cannot be written, or another file has its place: then all that was timed is in
                a file beside it, which the error names.
        """
        try:
            found = _stat(self.path)
            if found is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                again = _locked(self.path, 0.0)
                self._file.close()
                self._file, self._place = again, os.fstat(again.fileno())
            elif not os.path.samestat(found, self._place):
                saved = self.path.with_name(self.path.name + _SAVED)
                saved.write_bytes(self._content)
                raise OutputError(
                    "was replaced by another file while it was written",
                    subject=str(self.path),
                    hint=f"all that was timed is in {saved}: put it back, and the run goes on",
                )
            if found is None or found.st_size != len(self._content):
                self._file.truncate(0)
                self._file.write(self._content)
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
        """Keep one burst; ``sentinel_ms`` is the sentinel's latency just before it.

        Raises:
            RecordError: a time that could not be read again; nothing is written.
            OutputError: the file cannot be written.
        """
        now = time.monotonic()
        took_s, self._since = min(now - self._since, _LONGEST / 2), now
        value: JsonObject = {
            "u": unit,
            "r": round_number,
            "n": burst.runs,
            "b": burst.busy,
            "s": round(sentinel_ms, 6),
            "w": round(took_s, 4),
            "t": list(burst.points_ms),
            **({} if burst.core_us is None else {"c": burst.core_us}),
        }
        try:
            key, held, _ = _parse_burst(Fields(value, unit))
        except (ValueError, RecordError) as error:
            raise _untimed(unit, min(*burst.points_ms, sentinel_ms, _LONGEST)) from error
        self._append(sealed_line(value, self._last_line + 1))
        self._last_line += 1
        self.duration_s += took_s
        self.bursts.pop(key, None)  # timed again: the order is by time
        self.bursts[key] = held

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
            # A full disk was already reported by the write that failed.
            if kind is None:
                raise self._unwritable(fault) from fault


def _locked(path: Path, wait_s: float) -> IO[bytes]:
    """The file, opened and locked for this process."""
    while True:
        try:
            file = path.open("a+b")
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror or error})", subject=str(path)) from error
        try:
            lock(file, path, wait_s)
            # A run that just ended may have removed the file that was locked here: then open the new one.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def read_journal(path: Path) -> JournalContent:
    """Read a journal; an incomplete last line is dropped.

    Raises:
        RecordError: the file is not a journal, or its first line is damaged.
        MismatchError: its first line was edited.
        VersionError: written by a newer deploy-nas.
    """
    return parse_journal(_read(path), str(path))


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, MOST_JSON_BYTES)
    except OSError as error:
        raise RecordError(f"cannot be read ({error.strerror or error})", subject=str(path)) from error


def _untimed(unit: str, least_ms: float) -> RecordError:
    """The error for a burst whose times are no times."""
    if least_ms > 0.0:
        return RecordError(
            "was timed, but with times that cannot be used",
            subject=unit,
            hint="what was timed before is kept",
        )
    return RecordError(
        "took 0 ms: this device's clock is too coarse to time it",
        subject=unit,
        hint="what was timed before is kept; if it fails again, this device cannot be timed",
    )


def parse_journal(data: bytes, subject: str, *, finished: bool = False) -> JournalContent:
    """Like :func:`read_journal`, from bytes.

    Args:
        data: the journal.
        subject: names it in errors.
        finished: true if no line may be left out: what it held would not be timed again.
    """
    whole = data.rfind(b"\n") + 1
    lines = lines_of(data[:whole])
    try:
        header = Fields(parse_json(lines[0]), subject)
        if header.text("format") != FORMAT:
            raise ValueError
    except (IndexError, ValueError, RecordError) as error:
        raise RecordError(
            "is not a journal of deploy-nas", subject=subject, hint="remove it to start over"
        ) from error
    version = header.value.get("version")
    if version not in (_UNSEALED_VERSION, VERSION):
        raise VersionError(
            f"has format version {shown(version)}, this one reads up to {VERSION}", subject=subject
        )
    check_seal(header, required=version == VERSION, hint="remove it to start over")
    content = JournalHeader.from_json(header)
    bursts: Bursts = {}
    duration_s = 0.0
    found = read_lines(lines[1:], subject, all_sealed=version == VERSION)
    faults = list(found.faults)
    for number, fields in found.held:
        try:
            key, held, took_s = _parse_burst(fields)
        except (ValueError, RecordError):
            faults.append(f"line {number} holds no burst{LEFT_OUT}")
            continue
        duration_s += took_s
        bursts.pop(key, None)
        bursts[key] = held
    if finished and faults:
        raise RecordError(faults[0].removesuffix(LEFT_OUT), subject=subject, hint="run the kit again")
    tell_faults(faults, subject)
    return JournalContent(
        header=content, bursts=bursts, whole_bytes=whole, duration_s=duration_s, last_line=found.last
    )


def _parse_burst(fields: Fields) -> tuple[tuple[str, int], tuple[Burst, float], float]:
    """Unit and round, the burst with the sentinel's ms, and the seconds it took; raises for anything else."""
    points = tuple(fields.numbers("t", positive=True))
    beside = fields.number("s", positive=True)
    took_s = fields.optional_number("w") or 0.0
    if not points or max(*points, beside, took_s) >= _LONGEST or took_s < 0.0:
        raise ValueError
    busy = fields.number("b")
    if not 0.0 <= busy <= _LONGEST:
        raise ValueError
    core_us = fields.optional_number("c")
    if core_us is not None and not 0.0 <= core_us <= _LONGEST:
        raise ValueError
    burst = Burst(runs=fields.integer("n", 1, int(_LONGEST)), points_ms=points, busy=busy, core_us=core_us)
    return (fields.text("u"), fields.integer("r", 0, _MOST_ROUNDS)), (burst, beside), took_s
