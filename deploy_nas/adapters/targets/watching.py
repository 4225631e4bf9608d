"""Runs a kit's program and follows its progress."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from deploy_nas.adapters.targets.port import Progress
from deploy_nas.core.errors import RecordError, TargetError
from deploy_nas.core.fields import Fields, parse_json

_NO_MESSAGE = "the connection ended"


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
) -> None:
    """Run a command that writes lines of JSON to standard error (``device.program``).

    If it fails without an error line, the last line that is not JSON becomes the reason.

    Args:
        command: the command.
        address: of the target, the subject of errors.
        progress: called with the bursts done, the bursts in total and the kind of unit.
        cwd: the folder to run it in.
        goes_on: the run keeps a journal from which it can go on.

    Raises:
        TargetError: it ended with an exit code other than 0.
    """
    error = last = ""
    with subprocess.Popen(  # noqa: S603 - a list, no shell
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", cwd=cwd
    ) as process:
        try:
            for line in process.stderr or ():
                fields = _line(line)
                if fields is None:
                    last = line.strip() or last
                elif fields.holds("error"):
                    error = fields.text("error")
                elif progress is not None and fields.holds("done"):
                    progress(fields.integer("done"), fields.integer("total"), fields.text("what"))
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        reason = error or last.removeprefix("error: ") or _NO_MESSAGE
        hint = "the same command goes on from there, or starts over with `fresh`" if goes_on else ""
        raise TargetError(f"the run there ended: {reason}", subject=address, hint=hint)


def _line(line: str) -> Fields | None:
    try:
        return Fields(parse_json(line.encode()), "progress")
    except (ValueError, RecordError):
        return None
