"""Shared by the programs of kits: options, progress on standard error, and errors.

A person sees one line that is overwritten. A program that starts the kit with ``--progress json`` reads one
JSON object per line: ``{"done": 3, "total": 9, "what": "fit"}``, ``{"note": "..."}`` or ``{"error": "..."}``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from deploy_nas.core.errors import DeployNASError
from deploy_nas.core.fields import JsonObject
from deploy_nas.core.notices import telling
from deploy_nas.core.reader import plain_text

RESULT = "deploy-nas-result.jsonl"
FAULT, STOPPED = 70, 130


class Reporter(Protocol):
    """Receives a program's progress, notes and errors."""

    def progress(self, done: int, total: int, what: str) -> None:
        """Report that ``done`` of ``total`` are done; ``what`` is the kind of the latest."""

    def note(self, text: str) -> None:
        """Report a finding while the program runs."""

    def error(self, text: str) -> None:
        """Report why the program ends."""


class LineReporter:
    """One line of standard error that is overwritten; separate lines if that is not a terminal."""

    def __init__(self) -> None:
        self.begun, self.shown = time.monotonic(), 0.0
        self.first: int | None = None

    def progress(self, done: int, total: int, what: str) -> None:
        """Show the progress, at most every half second, or two seconds without a terminal."""
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
        """Write a separate line below the progress."""
        line = f"{plain_text(text)}\n"
        sys.stderr.write(f"\n{line}" if sys.stderr.isatty() else line)
        sys.stderr.flush()

    def error(self, text: str) -> None:
        """Write a separate line."""
        sys.stderr.write(f"error: {plain_text(text)}\n")


class JsonReporter:
    """One JSON object per line of standard error; progress at most five times per second."""

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
    """A parser with the options of every kit's program."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("-o", "--output", type=Path, default=Path(RESULT), help=f"result file [{RESULT}]")
    parser.add_argument(
        "--progress", choices=("line", "json"), default="line", help="progress on standard error [line]"
    )
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for another run to end [0]")
    return parser


def run_program(work: Callable[[Reporter], None], progress: str, kept: Callable[[], str]) -> int:
    """Run the work and report its errors.

    Args:
        work: the work; it is given the reporter.
        progress: "line" or "json".
        kept: says what an interrupted run leaves behind; empty for nothing.

    Returns:
        The exit code: 0 done, 1 or 2 an error, 70 a fault of the program, 130 stopped.
    """
    reporter: Reporter = JsonReporter() if progress == "json" else LineReporter()
    try:
        with telling(reporter.note):
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
    except Exception as error:
        traceback.print_exc()
        reporter.error(f"{type(error).__name__}: {error}; this is a fault of deploy-nas: please report it")
        return FAULT
    return 0
