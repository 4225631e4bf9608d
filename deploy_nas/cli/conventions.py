"""Common to all commands: -q and -v, outputs that are files, suggestions, completion, versions.

:func:`keep` gives it to a command as it is loaded, so that no command has to think of it.
"""

from __future__ import annotations

import difflib
import logging
import platform
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from deploy_nas.cli import show
from deploy_nas.core import extras
from deploy_nas.core.version import __version__

# -- -q and -v -----------------------------------------------------------------------------------------


def _quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[show.QUIET] = True


def _verbose(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        logger, handler = logging.getLogger("deploy_nas"), _Lines()
        before = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)

        def undo() -> None:
            logger.removeHandler(handler)
            logger.setLevel(before)

        ctx.find_root().call_on_close(undo)


class _Lines(logging.Handler):
    """The log, as lines on standard error with the seconds since the start."""

    def __init__(self) -> None:
        super().__init__()
        self.begun_s = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        room = record.name.removeprefix("deploy_nas.")
        lines = [record.getMessage()]
        if record.exc_info and record.exc_info[1] is not None:
            lines.append("\n")
            lines += traceback.format_exception(record.exc_info[1])
        text = "".join(lines).rstrip()
        show.say(f"{time.monotonic() - self.begun_s:8.2f} s  {room}: {text}", err=True, warning=True)


def common_options() -> list[click.Option]:
    """The options that every command has."""
    flags: list[tuple[list[str], Any, str]] = [
        (["-q", "--quiet"], _quiet, "Leave out progress and notes; results, warnings and errors stay."),
        (["-v", "--verbose"], _verbose, "Write each step to standard error, and where an error came from."),
    ]
    return [
        click.Option(names, is_flag=True, expose_value=False, callback=callback, help=text)
        for names, callback, text in flags
    ]


# -- a command as it is loaded -------------------------------------------------------------------------


def keep(command: click.Command) -> click.Command:
    """The command, with all that commands have in common; once is enough."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            keep(below)
    elif not any(option.name == "quiet" for option in command.params):
        for param in command.params:
            _named_alike(param)
        command.params += common_options()
    return command


def _named_alike(param: click.Parameter) -> None:
    if isinstance(param.type, click.Path) and isinstance(param, click.Option) and param.name in _OUTPUTS:
        param.callback = _a_file
    if param.name == "space" and param.type is click.STRING:
        param.type = SpaceName()


_OUTPUTS = ("output", "pick_output", "bundle")


def _a_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Refuse ``-o -``: what is written is checked, whole or not at all, and never a stream."""
    if value == Path("-"):
        hint = " (--json prints the result)" if any(p.name == "as_json" for p in ctx.command.params) else ""
        raise click.BadParameter(f"'-' is not a file, and standard output cannot take one{hint}", ctx, param)
    return value


class SpaceName(click.types.StringParamType):
    """A space's id, or the folder of a trained supernet; a shell completes both."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Ids that begin so; without one, folders."""
        from deploy_nas.core.spaces import space_ids

        ids = [CompletionItem(i) for i in space_ids() if i.startswith(incomplete)]
        return ids or [CompletionItem(incomplete, type="dir")]


class Group(click.Group):
    """A group that suggests what a mistyped command may have been."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it; a :class:`click.UsageError` for an unknown name suggests others."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], known)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


# -- --version -----------------------------------------------------------------------------------------


def versions() -> str:
    """Versions that matter for what is measured, a line each; imports none of the packages."""
    runtimes = [(name, extras.version(name)) for name in extras.RUNTIMES]
    said = [
        ("deploy-nas", __version__),
        ("python", f"{platform.python_version()} on {sys.platform} {platform.machine()}"),
        *([found for found in runtimes if found[1] is not None] or [("onnxruntime", None)]),
        *((name, extras.version(name)) for name in ("onnx", "numpy", "torch")),
    ]
    return "\n".join(f"{name} {version or 'not installed'}" for name, version in said)


def version_option() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--version``."""

    def shown(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            show.say(versions())
            ctx.exit()

    return click.option(
        "--version",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=shown,
        help="Show the versions of deploy-nas and of what it runs on.",
    )
