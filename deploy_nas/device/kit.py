"""The program of a profile's kit: times the kit's plan on this device and writes one result file.

It runs from a single ``kit.pyz`` and needs only python3, numpy and the runtime that its provider belongs
to. The result is the journal with a closing line: the number of bursts and a digest of all lines before it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

from deploy_nas.core.disk import write_whole
from deploy_nas.core.errors import MismatchError, OutputError, RecordError
from deploy_nas.core.fields import Fields, parse_json
from deploy_nas.core.plan_arguments import PlanArguments
from deploy_nas.core.reader import MOST_JSON_BYTES, read_regular
from deploy_nas.core.seals import check_seal
from deploy_nas.core.settings import Settings
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.device.program import Reporter, program_options, run_program
from deploy_nas.device.run import time_plan
from deploy_nas.device.runner import Unit

PLAN_FILE = "plan.json"
_RECENT_S = 24 * 3600.0
_AGAIN = "make the kit again"


class KitPlan:
    """The plan inside a kit: units from its ``plan.json``, graphs read when they are needed.

    Raises:
        RecordError: the archive's plan cannot be read; the key is named.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        fields = read_entry(archive, PLAN_FILE)
        self.id = fields.text("id")
        self.arguments = PlanArguments.from_json(fields.fields("arguments"))
        self.settings = Settings.from_json(fields.fields("settings"))
        self._files, self._digests = fields.text_map("files"), fields.text_map("sha256")
        self.sentinel = read_unit(fields.fields("sentinel"))
        self.blocks: Sequence[Sequence[Unit]] = [
            [read_unit(unit) for unit in fields.at("blocks", number).objects("value")]
            for number in range(len(fields.items("blocks")))
        ]

    def model(self, unit_id: str) -> bytes:
        """The graph of one unit; raises :class:`MismatchError` for another than the kit was made with."""
        name = self._files.get(unit_id, "")
        return read_packed(self.archive, name, self._digests.get(name), name)


def read_file(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of a kit; raises :class:`RecordError` if it is missing or damaged."""
    try:
        return archive.read(name)
    except Exception as error:  # zipfile and zlib raise several unrelated types for damaged data
        raise RecordError("cannot be read from this kit", subject=name) from error


def read_packed(archive: zipfile.ZipFile, name: str, sha256: str | None, subject: str) -> bytes:
    """A file of a kit as it was packed; raises :class:`MismatchError` naming ``subject`` for another."""
    data = read_file(archive, name)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise MismatchError("was changed since the kit was made", subject=subject, hint=_AGAIN)
    return data


def read_entry(archive: zipfile.ZipFile, name: str) -> Fields:
    """A kit's description; raises :class:`RecordError` if it is missing, not JSON, or was edited."""
    try:
        fields = Fields(parse_json(read_file(archive, name)), name)
    except ValueError as error:
        raise RecordError("cannot be read from this kit", subject=name) from error
    check_seal(fields, required=True, hint=_AGAIN)
    return fields


def read_unit(fields: Fields) -> Unit:
    """A unit from a kit's object; raises :class:`RecordError` naming the key."""
    tensors = fields.fields("tensors")
    return Unit(
        id=fields.text("id"),
        kind=fields.text("kind"),
        tensors={name: TensorSpec.from_json(tensors.fields(name)) for name in tensors.value},
    )


def digest(lines: bytes) -> str:
    """Digest of a result's lines before the closing line."""
    return hashlib.sha256(lines).hexdigest()


def close_result(journal: Path, result: Path) -> None:
    """Write the result, the journal and its closing line, completely or not at all."""
    lines = read_regular(journal, MOST_JSON_BYTES)
    end = json.dumps({"end": lines.count(b"\n") - 1, "sha256": digest(lines)}).encode() + b"\n"
    write_whole(result, lines + end, replace=True)


def recent_lines(result: Path) -> bytes | None:
    """The journal lines of a result finished in the last day; ``None`` without a complete one.

    A result that could not be fetched need not be timed again, but an older one may no longer hold.
    """
    with contextlib.suppress(OSError, RecordError):
        if 0 <= time.time() - result.stat().st_mtime < _RECENT_S:
            return split_result(read_regular(result, MOST_JSON_BYTES), str(result))
    return None


def split_result(data: bytes, subject: str) -> bytes:
    """A result's journal lines.

    Raises:
        RecordError: it is cut short.
        MismatchError: it was edited.
    """
    body, _, last = data.rstrip(b"\n").rpartition(b"\n")
    body += b"\n"
    try:
        end = Fields(parse_json(last), subject)
        stated, count = end.text("sha256"), end.integer("end", 0)
    except (ValueError, RecordError) as error:
        raise RecordError(
            "is not a finished result: its closing line is missing",
            subject=subject,
            hint="run the kit again: it goes on",
        ) from error
    if stated != digest(body):
        raise MismatchError("was edited or damaged: its digest does not fit", subject=subject)
    if count != body.count(b"\n") - 1:
        raise RecordError("has missing or duplicate lines", subject=subject)
    return body


def main(arguments: Sequence[str] | None = None, archive: str | None = None) -> int:
    """Run the kit; returns the exit code (0 done, 2 bad input, 130 stopped)."""
    parser = program_options("Times a deploy-nas plan on this device.")
    parser.add_argument(
        "--fresh", action="store_true", help="start over instead of going on with a stopped run"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="reuse this plan's result from the last day instead of timing again",
    )
    parser.add_argument("--force", action="store_true", help="replace the result file")
    asked = parser.parse_args(arguments)
    output: Path = asked.output
    journal = output.with_name(output.name + ".journal")

    def work(reporter: Reporter) -> None:
        if output.exists() and not (asked.keep or asked.fresh or asked.force):
            raise OutputError("exists already", subject=str(output), hint="use --force to replace it")
        with zipfile.ZipFile(archive or sys.argv[0]) as opened:
            plan = KitPlan(opened)
            finished = recent_lines(output) if asked.keep else None
            time_plan(
                plan,
                plan.settings,
                journal,
                arguments=plan.arguments,
                fresh=asked.fresh,
                wait_s=asked.wait,
                earlier=None if finished is None else lambda: finished,
                takes_again=finished is None,
                finish=lambda content: close_result(journal, output),
                progress=reporter.progress,
                say=reporter.note,
            )
        sys.stdout.write(f"wrote {output}\n")

    def kept() -> str:
        return f"what was timed is kept in {journal}" if journal.exists() else ""

    return run_program(work, asked.progress, kept)
