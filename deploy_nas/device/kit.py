"""The kit's program: times the plan it carries on the device it is run on, and writes one result file.

Runs from a single ``kit.pyz`` with python3, numpy and onnxruntime only. The result is the journal
with a last line that closes it: how many bursts there are and a digest of all lines before.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy_nas.core.errors import DeployNASError, OutputError, RecordError
from deploy_nas.core.settings import Settings
from deploy_nas.device.run import time_plan
from deploy_nas.device.runner import Unit

PLAN_FILE = "plan.json"
RESULT = "deploy-nas-result.jsonl"
_RECENT_S = 24 * 3600.0


class KitPlan:
    """The plan inside a kit: units from its ``plan.json``, graphs read when they are needed."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        value = json.loads(archive.read(PLAN_FILE))
        self.id = str(value["id"])
        self.arguments: dict[str, Any] = value["arguments"]
        self.settings: dict[str, Any] = value["settings"]
        self._files: dict[str, str] = value["files"]
        self.sentinel = _unit(value["sentinel"])
        self.blocks: Sequence[Sequence[Unit]] = [[_unit(u) for u in block] for block in value["blocks"]]

    def model(self, unit_id: str) -> bytes:
        """The graph of one unit."""
        return self.archive.read(self._files[unit_id])


def _unit(value: Mapping[str, Any]) -> Unit:
    return Unit(
        id=value["id"], kind=value["kind"], tensors={k: tuple(v) for k, v in value["tensors"].items()}
    )


def digest(lines: bytes) -> str:
    """Of a result's lines before its last."""
    return hashlib.sha256(lines).hexdigest()


def close_result(journal: Path, result: Path) -> None:
    """Write the result: the journal and the line that closes it, whole or not at all."""
    lines = journal.read_bytes()
    end = json.dumps({"end": lines.count(b"\n") - 1, "sha256": digest(lines)}).encode() + b"\n"
    part = result.with_name(result.name + ".part")
    with part.open("wb") as file:
        file.write(lines + end)
        file.flush()
        os.fsync(file.fileno())
    part.replace(result)


def recent_lines(result: Path) -> bytes | None:
    """The journal lines of a result finished in the last day; ``None`` where there is none whole.

    What could not be fetched need not be timed again; what is older is another day's device.
    """
    with contextlib.suppress(OSError, RecordError):
        if 0 <= time.time() - result.stat().st_mtime < _RECENT_S:
            return split_result(result.read_bytes(), str(result))
    return None


def split_result(data: bytes, subject: str) -> bytes:
    """A result's journal lines; raises :class:`RecordError` where it is cut short or was edited."""
    body, _, last = data.rstrip(b"\n").rpartition(b"\n")
    body += b"\n"
    try:
        end = json.loads(last)
        stated, count = end["sha256"], int(end["end"])
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(
            "is no finished result: its last line does not close it",
            subject=subject,
            hint="run the kit again: it goes on",
        ) from error
    if stated != digest(body):
        raise RecordError("was edited or damaged: its digest does not fit", subject=subject)
    if count != body.count(b"\n") - 1:
        raise RecordError("has lines missing or twice", subject=subject)
    return body


class ProgressLine:
    """Progress on one line of standard error, or a line now and then where that is no terminal."""

    def __init__(self) -> None:
        self.begun, self.shown = time.monotonic(), 0.0
        self.first: int | None = None

    def __call__(self, done: int, total: int, what: str) -> None:
        """Show how far it is, now and then."""
        now = time.monotonic()
        every = 0.5 if sys.stderr.isatty() else 2.0
        if now - self.shown < every and done < total:
            return
        self.first = done if self.first is None else self.first
        left = (now - self.begun) / max(1, done - self.first) * (total - done) if done > self.first else 0.0
        self.shown = now
        end = "\r" if sys.stderr.isatty() and done < total else "\n"
        sys.stderr.write(f"{what:>10}  {done}/{total}  {left:.0f} s left   {end}")
        sys.stderr.flush()


def main(arguments: Sequence[str] | None = None, archive: str | None = None) -> int:
    """Run the kit; returns the exit code (0 done, 2 bad input, 130 stopped)."""
    parser = argparse.ArgumentParser(description="Times a deploy-nas plan on this device.")
    parser.add_argument("-o", "--output", type=Path, default=Path(RESULT), help=f"result file [{RESULT}]")
    parser.add_argument(
        "--fresh", action="store_true", help="begin anew instead of going on with a stopped run"
    )
    parser.add_argument(
        "--keep", action="store_true", help="take this plan's result of the last day instead of timing again"
    )
    parser.add_argument("--force", action="store_true", help="replace the result file")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for another run to end [0]")
    asked = parser.parse_args(arguments)
    journal = asked.output.with_name(asked.output.name + ".journal")
    try:
        if asked.output.exists() and not (asked.keep or asked.fresh or asked.force):
            raise OutputError("exists already", subject=str(asked.output), hint="use --force to replace it")
        return _run(
            archive or sys.argv[0],
            asked.output,
            journal,
            fresh=asked.fresh,
            wait_s=asked.wait,
            keep=asked.keep,
        )
    except DeployNASError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except OSError as error:
        kept = f"; what was timed is kept in {journal}" if journal.exists() else ""
        sys.stderr.write(f"error: {error.filename or ''} {error.strerror or error}{kept}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"\nstopped; what was timed is kept in {journal}: the same command goes on\n")
        return 130


def _run(archive: str, output: Path, journal_path: Path, *, fresh: bool, wait_s: float, keep: bool) -> int:
    with zipfile.ZipFile(archive) as opened:
        plan = KitPlan(opened)
        time_plan(
            plan,
            Settings(**plan.settings),
            journal_path,
            more={"arguments": plan.arguments},
            fresh=fresh,
            wait_s=wait_s,
            earlier=(lambda: recent_lines(output)) if keep else None,
            finish=lambda content: close_result(journal_path, output),
            progress=ProgressLine(),
            say=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
        )
    sys.stdout.write(f"wrote {output}\n")
    return 0
