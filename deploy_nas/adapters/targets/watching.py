"""Runs a kit's program and follows its progress."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy_nas.adapters.targets.port import Progress
from deploy_nas.core.errors import RecordError, TargetError, UnreachableError
from deploy_nas.core.fields import Fields, parse_json
from deploy_nas.core.notices import notice

_NO_MESSAGE = "the connection ended"
_LONGEST = 64 * 1024  # characters of a line
_MOST_NOTES, _LONGEST_NOTE = 100, 1000


def kit_command(python: str, kit: str, result: str, options: Sequence[str]) -> list[str]:
    """The command that runs a kit so that its progress can be followed."""
    return [python, kit, "--progress", "json", "--wait", "60", "-o", result, *options]


def follow(
    command: Sequence[str],
    address: str,
    progress: Progress | None,
    *,
    cwd: Path | None = None,
    goes_on: bool = False,
    broken: int | None = None,
) -> None:
    """Run a command that writes lines of JSON to standard error (``device.program``).

    What it notes is a notice here (``core.notices``), up to some hundred. If it fails without an error line,
    the last line that is not JSON becomes the reason.

    Args:
        command: the command.
        address: of the target, the subject of errors.
        progress: called with the bursts done, the bursts in total and the kind of unit.
        cwd: the folder to run it in.
        goes_on: the run keeps a journal from which it can go on.
        broken: the exit code of a connection that broke.

    Raises:
        UnreachableError: the connection broke.
        TargetError: it ended with another exit code than 0.
    """
    error = last = ""
    notes: set[str] = set()
    with subprocess.Popen(  # noqa: S603 - a list, no shell
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", cwd=cwd
    ) as process:
        try:
            assert process.stderr is not None  # noqa: S101 - it is a pipe
            while line := process.stderr.readline(_LONGEST):
                told = _told(line)
                if told is None:
                    last = line.strip() or last
                    continue
                error = told.error or error
                if told.note and told.note not in notes and len(notes) < _MOST_NOTES:
                    notes.add(told.note)
                    notice(told.note, subject=address)
                if progress is not None and told.progress is not None:
                    progress(*told.progress)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        reason = error or last.removeprefix("error: ") or _NO_MESSAGE
        hint = "the same command goes on from there, or starts over with `fresh`" if goes_on else ""
        kind = UnreachableError if process.returncode == broken and not error else TargetError
        raise kind(f"the run there ended: {reason}", subject=address, hint=hint)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    """A line of JSON: an error, a note, or the bursts done, the bursts in total and the kind of unit."""

    error: str | None = None
    note: str | None = None
    progress: tuple[int, int, str] | None = None


def _told(line: str) -> _Told | None:
    """``None`` if the line is anything else: a device may write what it likes."""
    try:
        fields = Fields(parse_json(line.encode()), "progress")
        if not fields.holds("done"):
            note = fields.optional_text("note")
            return _Told(error=fields.optional_text("error"), note=note and note[:_LONGEST_NOTE])
        done, total = fields.integer("done", 0), fields.integer("total", 0)
        return _Told(progress=(done, total, fields.text("what")))
    except (ValueError, RecordError, RecursionError):
        return None
