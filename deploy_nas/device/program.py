"""Common to the programs of kits: their options, their progress on standard error, their errors.

A person sees one line that is written over. A program that started the kit asks for ``--progress json``
and reads one JSON object per line: ``{"done": 3, "total": 9, "what": "fit"}``, ``{"note": "..."}`` or
``{"error": "..."}``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from deploy_nas.core.errors import DeployNASError
from deploy_nas.core.fields import JsonObject

RESULT = "deploy-nas-result.jsonl"
STOPPED = 130


class Reporter(Protocol):
    """Where a program tells how far it is."""

    def progress(self, done: int, total: int, what: str) -> None:
        """So many of ``total`` are done; ``what`` kind the latest was."""

    def note(self, text: str) -> None:
        """Something to know while it goes on."""

    def error(self, text: str) -> None:
        """Why it ends."""


class LineReporter:
    """One line of standard error, or a line now and then where that is no terminal."""

    def __init__(self) -> None:
        self.begun, self.shown = time.monotonic(), 0.0
        self.first: int | None = None

    def progress(self, done: int, total: int, what: str) -> None:
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

    def note(self, text: str) -> None:
        """A line of its own, below the progress."""
        sys.stderr.write(f"\n{text}\n" if sys.stderr.isatty() else f"{text}\n")
        sys.stderr.flush()

    def error(self, text: str) -> None:
        """A line of its own."""
        sys.stderr.write(f"error: {text}\n")


class JsonReporter:
    """An object per line of standard error; progress several times a second at most."""

    _EVERY_S = 0.2

    def __init__(self) -> None:
        self.shown = 0.0

    def progress(self, done: int, total: int, what: str) -> None:
        """``{"done": 3, "total": 9, "what": "fit"}``."""
        now = time.monotonic()
        if now - self.shown >= self._EVERY_S or done >= total:
            self.shown = now
            self._write({"done": done, "total": total, "what": what})

    def note(self, text: str) -> None:
        """``{"note": "..."}``."""
        self._write({"note": text})

    def error(self, text: str) -> None:
        """``{"error": "..."}``."""
        self._write({"error": text})

    def _write(self, value: JsonObject) -> None:
        sys.stderr.write(json.dumps(value) + "\n")
        sys.stderr.flush()


def program_options(description: str) -> argparse.ArgumentParser:
    """A parser with the options that every kit's program has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("-o", "--output", type=Path, default=Path(RESULT), help=f"result file [{RESULT}]")
    parser.add_argument(
        "--progress", choices=("line", "json"), default="line", help="progress on standard error [line]"
    )
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for another run to end [0]")
    return parser


def run_program(work: Callable[[Reporter], None], progress: str, kept: Callable[[], str]) -> int:
    """Do the work and report its errors.

    Args:
        work: does it.
        progress: "line" or "json".
        kept: says what an ended run leaves behind; empty where it leaves nothing.

    Returns:
        The exit code: 0 done, 1 or 2 an error, 130 stopped.
    """
    reporter: Reporter = JsonReporter() if progress == "json" else LineReporter()
    try:
        work(reporter)
    except DeployNASError as error:
        reporter.error(str(error))
        return error.exit_code
    except OSError as error:
        left = f"; {kept()}" if kept() else ""
        reporter.error(f"{error.filename or ''} {error.strerror or error}".strip() + left)
        return 2
    except KeyboardInterrupt:
        reporter.note(f"stopped; {kept()}: the same command goes on" if kept() else "stopped")
        return STOPPED
    return 0
