"""Shared by the commands: progress bars, tables, JSON."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from deploy_nas.cli import numbers
from deploy_nas.core.reader import json_text, plain_text

if TYPE_CHECKING:
    from deploy_nas.adapters.images import ReadingReport


QUIET = "deploy_nas.quiet"
_log = logging.getLogger(__name__)


def hushed() -> bool:
    """Whether the command that runs was called with ``-q``."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(QUIET))


def plain(text: object) -> str:
    """A text that a terminal shows as it is: control characters are written out, as in ``\\x1b``.

    What profiles, devices and other packages say could otherwise move the cursor, hide lines, or more.
    """
    return plain_text(str(text))


def one_line(text: object) -> str:
    """A plain text in one line."""
    return " ".join(line.strip() for line in plain(text).split("\n")).strip()


def say(text: object = "", *, err: bool = False, warning: bool = False) -> None:
    """Print a plain text to standard output or standard error: all that commands print goes through here.

    With ``-q``, standard error takes warnings only.
    """
    if err and not warning and hushed():
        return
    click.echo(plain(text), err=err)


def given_options(ctx: click.Context) -> dict[str, str]:
    """The options that were given on the command line, by the name of their parameter."""
    return {
        str(option.name): option.opts[-1]
        for option in ctx.command.params
        if ctx.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
    }


@contextlib.contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """A progress bar, or one line per minute in a log; yields ``update(done, total, what)``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    quiet = quiet or hushed()
    if quiet or not console.is_terminal:
        if quiet:
            yield lambda *_: None
        else:
            say(f"{title} ...", err=True)
            yield _LogLines(title)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # One step can take minutes, and rich would estimate the time left from its last 30 s only.
    with Progress(*columns, console=console, transient=True, speed_estimate_period=3600) as bar:
        task = bar.add_task(title, total=None)

        def update(done: int, total: int, what: object = "") -> None:
            bar.update(task, completed=done, total=total, description=one_line(f"{title} {what}"))

        yield update


@contextlib.contextmanager
def timed_progress(*, quiet: bool = False) -> Iterator[Callable[[str, int, int, float | None], None]]:
    """A progress bar whose caller estimates the time left; yields ``update(what, done, total, left_s)``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    quiet = quiet or hushed()
    if quiet or not console.is_terminal:
        yield (lambda *_: None) if quiet else _TimedLines()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, left="")
        left = _Left()

        def update(what: str, done: int, total: int, left_s: float | None) -> None:
            known = left(what, done, total, left_s)
            bar.update(task, completed=done, total=total, description=one_line(what), left=time_left(known))

        yield update


class _Left:
    """Time left of what is done: the caller's estimate, or from the pace so far."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.what, self.began_s, self.before = "", 0.0, 0

    def __call__(self, what: str, done: int, total: int, left_s: float | None) -> float | None:
        """Seconds; ``None`` while they are unknown."""
        now_s = self.clock()
        if what != self.what:
            self.what, self.began_s, self.before = what, now_s, done
        if left_s is None and done > self.before:
            return (now_s - self.began_s) / (done - self.before) * (total - done)
        return left_s


def time_left(seconds: float | None) -> str:
    """Such as ``12 min left``; empty if it is unknown."""
    if seconds is None:
        return ""
    return f"{seconds:.0f} s left" if seconds < 120 else f"{seconds / 60:.0f} min left"


def duration(seconds: float) -> str:
    """Such as ``48 s`` or ``12.3 min``."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


class _TimedLines:
    """Progress as lines on standard error: the first of each kind, then one a minute."""

    def __init__(self, every_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.every_s, self.clock = every_s, clock
        self.what, self.said_s = "", clock()
        self.left = _Left(clock)

    def __call__(self, what: str, done: int, total: int, left_s: float | None) -> None:
        now_s = self.clock()
        left = time_left(self.left(what, done, total, left_s))
        if what == self.what and now_s - self.said_s < self.every_s:
            return
        self.what, self.said_s = what, now_s
        say(f"{what}: {done}/{total}" + (f", {left}" if left else ""), err=True)


class _LogLines:
    """Progress as lines on standard error, at most one per ``every_s`` seconds."""

    def __init__(
        self, title: str, every_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.title, self.every_s, self.clock = title, every_s, clock
        self.said_s = clock()
        self.total, self.first = 0, (self.said_s, 0)

    def __call__(self, done: int, total: int, what: object = "") -> None:
        now_s = self.clock()
        if total != self.total:  # another stage with other steps
            self.total, self.first = total, (now_s, done)
        if now_s - self.said_s < self.every_s:
            return
        self.said_s = now_s
        began_s, before = self.first
        left = f", {(now_s - began_s) / (done - before) * (total - done):.0f} s left" if done > before else ""
        say(" ".join(f"{self.title} {what}".split()) + f": {done}/{total}{left}", err=True)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Plain aligned columns: left for text, right for numbers."""
    cells = [[_cell(v) for v in row] for row in rows]
    widths = [max([len(h), *(len(c[i]) for c in cells)]) for i, h in enumerate(head)]
    right = [all(isinstance(row[i], int | float) or row[i] is None for row in rows) for i in range(len(head))]

    def line(values: Sequence[str]) -> str:
        parts = [v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([line(head), line(["-" * w for w in widths]), *(line(c) for c in cells)])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"
    return one_line(value)


def say_reading(*reports: ReadingReport) -> None:
    """Say on standard error how pictures were read: one line for each thing worth knowing, each once."""
    for report in dict.fromkeys(reports):
        for line in report.lines():
            say(f"note: {report.source}: {line}", err=True)


def emit_json(value: Any) -> None:
    """One JSON value on standard output, in ASCII, which every stream takes; names as in files."""
    sys.stdout.write(json.dumps(json.loads(json_text(value)), indent=1) + "\n")


def beside(path: Path, suffix: str) -> Path:
    """The same name with another suffix: the default of an output."""
    if not path.name:
        raise click.BadParameter(f"{str(path)!r} is not a file")
    return path.with_suffix(suffix)


def json_option() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def seed_option(help: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--seed``."""
    return click.option("--seed", type=numbers.SEED, default=0, show_default=True, help=help)


def cluster_option() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--cluster``."""
    return click.option(
        "--cluster",
        metavar="auto|HOST:PORT",
        help="Measure subnets on a Ray cluster: that of this machine, or of this head.",
    )


def supernet_option(which: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--space`` of a command whose files say the space already."""
    return click.option("--space", metavar="FOLDER", help=f"Folder of the trained supernet {which}.")


def calibration_limit_option() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--calibration-limit``."""
    return click.option(
        "--calibration-limit",
        type=numbers.IMAGES,
        default=2000,
        show_default=True,
        help="Calibration images, at most.",
    )


def accuracy_drop_option() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--max-accuracy-drop``."""
    return click.option(
        "--max-accuracy-drop",
        default=1.0,
        show_default=True,
        help="Points of top-1 that INT8 may lose, at most.",
    )


def unstable_option(help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--allow-unstable``: rely on figures of an unstable machine."""
    return click.option("--allow-unstable", is_flag=True, help=help)


def target_options(does: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options ``--target`` and ``--ssh-option`` of a command that ``does`` something on a device."""
    target = click.option(
        "--target",
        metavar="ADDRESS",
        help=f"Device to {does} on: here, ssh://USER@HOST, browser (Chromium of this machine), "
        "page://HOST:PORT (a page to open in any browser), or the path of a kit to carry by hand (*.pyz)  "
        "[this process]",
    )
    ssh_option = click.option(
        "--ssh-option",
        multiple=True,
        metavar="OPTION",
        help="Option for ssh and scp, such as `-iKEY`; may be repeated.",
    )
    return lambda command: target(ssh_option(command))


def key_values(pairs: Sequence[str], option: str) -> dict[str, str]:
    """``KEY=VALUE`` options as a dict."""
    result = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint=option)
        result[key] = value
    return result


def whole_numbers(text: str | None, option: str) -> list[int] | None:
    """``160,192,224`` as a list."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list such as 160,192", param_hint=option) from None


@contextlib.contextmanager
def status(title: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A status line on standard error; yields ``say(step)``, which changes it."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    if quiet or hushed() or not console.is_terminal:
        yield lambda step: _log.info("%s: %s", title, one_line(step))
        return
    with console.status(title) as line:
        yield lambda step: line.update(escape(one_line(f"{title}: {step}")))
