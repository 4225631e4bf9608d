"""A fleet's history: JSON lines, one for each attempt to profile or to verify, appended as they end.

However a run ends, it leaves whole lines and at most one that is cut short, which is named and left out. Each
line has its number and a digest: damage costs a line. An open history is locked: a fleet has one run at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields, check_format, parse_json
from deploy_nas.core.notices import notice
from deploy_nas.core.seals import check_seal, lines_of, read_lines, tell_faults
from deploy_nas.records.files import read_bytes
from deploy_nas.records.line_file import LineFile

FORMAT = "deploy-nas fleet history"
VERSION = 1
PROFILED, CHECKED = "profile", "verify"
DONE, KEPT, BROKEN, UNPROMISED = "done", "kept", "broken", "unpromised"
UNREACHABLE, FAILED = "unreachable", "failed"
STATES = (DONE, KEPT, BROKEN, UNPROMISED, UNREACHABLE, FAILED)
_FIRST = {"format": FORMAT, "version": VERSION}


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """An attempt that ended.

    Args:
        at: when, ISO 8601.
        device: its name.
        kind: "profile" or "verify".
        subject: the space, or the model.
        state: one of ``STATES``: a profile is done, a promise kept, broken or not made, and a device can be
            unreachable, or fail.
        fault: an error, or why what was measured cannot be relied on; empty without one.
        profile: id of the profile that was made, or that was compared with.
        measured_ms, limit_ms: latency, and the budget or bound that was promised.
        speed: of the device, over its speed when the profile was made or last checked.
        sha256: of the model.
    """

    at: str
    device: str
    kind: str
    subject: str
    state: str
    fault: str = ""
    profile: str | None = None
    measured_ms: float | None = None
    limit_ms: float | None = None
    speed: float | None = None
    sha256: str | None = None

    def to_json(self) -> dict[str, object]:
        """The object in files, without what is not known."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}

    @classmethod
    def from_json(cls, fields: Fields) -> Event:
        """From a file's object; raises :class:`RecordError` naming the key."""
        kind, state = fields.text("kind"), fields.text("state")
        if kind not in (PROFILED, CHECKED):
            raise fields.wrong("kind", f"{PROFILED} or {CHECKED}")
        if state not in STATES:
            raise fields.wrong("state", f"one of {', '.join(STATES)}")
        return cls(
            at=fields.text("at"),
            device=fields.text("device"),
            kind=kind,
            subject=fields.text("subject"),
            state=state,
            fault=fields.optional_text("fault") or "",
            profile=fields.optional_text("profile"),
            measured_ms=fields.optional_number("measured_ms", positive=True),
            limit_ms=fields.optional_number("limit_ms", positive=True),
            speed=fields.optional_number("speed", positive=True),
            sha256=fields.optional_text("sha256"),
        )


def load_history(path: Path) -> tuple[Event, ...]:
    """The events of a history, oldest first; none for a file that does not exist.

    Raises:
        RecordError: a file of another kind.
        MismatchError: the first line was edited.
        VersionError: a newer deploy-nas wrote it.
    """
    return _parse(read_bytes(path), str(path))[0] if path.exists() else ()


class History:
    """A history that is open to be written: a context manager. ``events`` are those it held.

    Raises:
        OutputError: it cannot be written, or another run of this fleet goes on.
        RecordError, MismatchError, VersionError: as :func:`load_history`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = LineFile(path, _FIRST, self._read)

    def _read(self, content: bytes) -> tuple[int, int]:
        self.events, last_line, whole_bytes = _parse(content, str(self.path))
        return last_line, whole_bytes

    def append(self, events: Sequence[Event]) -> None:
        """Add events; they are on disk when this returns."""
        for event in events:
            value = event.to_json()
            Event.from_json(Fields(dict(value), str(self.path)))  # as it will be read
            self._file.append(value)
        self.events += tuple(events)

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _parse(content: bytes, where: str) -> tuple[tuple[Event, ...], int, int]:
    """The events, the number of the last line, and how many bytes are whole lines."""
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        raise RecordError("is not the history of a fleet, or is truncated", subject=where)
    first, *lines = lines_of(whole)
    try:
        fields = Fields(parse_json(first), f"{where}: line 1")
    except ValueError as error:
        raise RecordError(f"is not JSON ({error})", subject=f"{where}: line 1") from error
    check_format(fields, FORMAT, VERSION)
    check_seal(fields, required=True, hint="restore it, or move it away")
    if whole != content:
        notice("its last line was cut short and is left out", subject=where)
    found = read_lines(lines, where, all_sealed=True)
    tell_faults(found.faults, where)
    return tuple(Event.from_json(fields) for _, fields in found.held), found.last, len(whole)
