"""How a command ends: one exit code for each kind of end, and one line that says why.

1 is an answer, and nothing else: every other end has a code of its own (docs/reference/errors.md).
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import IO, NoReturn

import click

from deploy_nas.cli.show import one_line, plain
from deploy_nas.cli.wording import in_options
from deploy_nas.core import extras
from deploy_nas.core.errors import DeployNASError

DONE, BAD_INPUT, PARTLY, FAULT, NO_OUTPUT, STOPPED, PIPE_CLOSED = 0, 2, 3, 70, 74, 130, 141

# Where a package is imported by another name than it is installed by.
_DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml"}


class StreamError(OSError):
    """Standard output or standard error takes no more."""


class PipeClosedError(StreamError):
    """Nobody reads the rest: the command after ours in a pipe has ended.

    Its own class, because click and rich end the process with exit code 1 for a ``BrokenPipeError``.
    """


def code_of(work: Callable[[], object]) -> int:
    """Run a command; say on standard error why it ended, unless it succeeded, and return its exit code."""
    try:
        return _code_of(work)
    except KeyboardInterrupt:  # while it said why
        return STOPPED


def _code_of(work: Callable[[], object]) -> int:
    try:
        result = work()
        if sys.stdout is not None:
            sys.stdout.flush()
        return result if isinstance(result, int) else DONE
    except SystemExit as error:
        return _asked_for(error)
    except click.exceptions.Abort as error:  # click raises it for an end of input too
        if isinstance(error.__cause__, EOFError):
            return _fault(error.__cause__)
        return _said(STOPPED, "stopped", kind="")
    except KeyboardInterrupt:
        return _said(STOPPED, "stopped", kind="")
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        *usage, last = text.getvalue().splitlines() or [""]
        return _said(BAD_INPUT, last, *usage, kind="")
    except DeployNASError as error:
        return _said(error.exit_code, in_options(error))
    except (BrokenPipeError, PipeClosedError):
        return PIPE_CLOSED
    except StreamError as error:
        return _said(NO_OUTPUT, error.strerror or "")
    except MemoryError as error:
        return _said(BAD_INPUT, "not enough memory" + (f" ({error})" if str(error) else ""))
    except OSError as error:
        subject = f"{error.filename}: " if error.filename else ""
        return _said(BAD_INPUT, f"{subject}{error.strerror or error}")
    except ImportError as error:
        if (of_extra := extras.missing(error)) is not None:
            return _said(of_extra.exit_code, str(of_extra))
        if (name := _foreign_package(error)) is None:
            return _fault(error)
        return _said(
            BAD_INPUT,
            f"{name}: this package is missing or broken ({error}); install it: python3 -m pip install {name}",
        )
    except BaseException as error:
        return _fault(error)


def _asked_for(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or DONE
    return _said(FAULT, f"{error.code}; another package ended the command")


def _foreign_package(error: ImportError) -> str | None:
    """The distribution of a package that cannot be imported; ``None`` if it is this one."""
    top = (error.name or "").partition(".")[0]
    return None if top in ("", "deploy_nas") else _DISTRIBUTIONS.get(top, top.replace("_", "-"))


def _fault(error: BaseException) -> int:
    lines = [line for part in traceback.format_exception(error) for line in part.splitlines()]
    said = f"{type(error).__name__}: {error}".strip(": ")
    said += "; this is a fault of deploy-nas: please report it with the lines above"
    return _said(FAULT, said, *lines)


def _said(code: int, text: str, *before: str, kind: str = "error: ") -> int:
    """Write lines and then ``text`` in one line to standard error, if that takes them; returns the code."""
    lines = [*(plain(line) for line in before), kind + one_line(text)]
    with contextlib.suppress(OSError, ValueError):
        click.echo("\n".join(lines), err=True)
    return code


# -- the process --------------------------------------------------------------------------------------


def prepare() -> None:
    """Make the standard streams say by a :class:`StreamError` that they cannot be written.

    A stream that was closed is opened again: a file of the command must not take its number.
    """
    if os.name != "posix":
        return
    if sys.stdin is None:
        sys.stdin = open(_reopened(0, os.O_RDONLY), encoding="utf-8")  # noqa: SIM115
    # Nobody reads what is said on a closed standard error; a closed standard output cannot give the answer.
    stdout = _reopened(1, os.O_RDONLY) if sys.stdout is None else 1
    stderr = _reopened(2, os.O_WRONLY) if sys.stderr is None else 2
    sys.stdout = _checked(sys.stdout, stdout, "standard output")
    sys.stderr = _checked(sys.stderr, stderr, "standard error")


def _reopened(number: int, how: int) -> int:
    descriptor = os.open(os.devnull, how)
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.set_inheritable(number, True)
    return number


class _Raw(io.FileIO):
    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.called = name

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError as error:
            raise PipeClosedError from error
        except OSError as error:
            raise StreamError(error.errno, f"{self.called} cannot be written ({error.strerror})") from error


def _checked(stream: IO[str] | None, descriptor: int, name: str) -> io.TextIOWrapper:
    raw = _Raw(descriptor, name)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace",  # a character that the terminal lacks
        line_buffering=name == "standard error" or raw.isatty(),
    )


def leave(code: int) -> NoReturn:
    """End the process with this code.

    After Ctrl-C it ends at once: threads of onnxruntime and torch may still run, and would meet an
    interpreter that is being taken down. What was to be done at the exit is done.
    """
    at_once = code == STOPPED
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # was said; Python would try again, and end with a code of its own
            at_once = True
    if at_once:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)
