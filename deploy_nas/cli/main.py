"""The command group: lazy commands, and the one translation of errors to exit codes."""

from __future__ import annotations

import codecs
import importlib
import io
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from deploy_nas.core.errors import BudgetError, BudgetMissedError, DeployNASError, OptionError
from deploy_nas.core.figures import FIGURES
from deploy_nas.core.reader import name_text

# name -> (module, summary): a command is imported when it runs, so that --help is instant.
COMMANDS: dict[str, tuple[str, str]] = {
    "build": ("build", "From your images and a budget in ms to a verified network, in one go."),
    "quickstart": ("quickstart", "Profile, search, export and verify with the embedded supernet."),
    "train": ("train", "Train a supernet on your images, from pretrained weights."),
    "finetune": ("finetune", "Train one subnet of your supernet further, alone."),
    "profile": ("profile", "Time every layer of a space on a device; write a latency table."),
    "search": ("search", "Find the most accurate subnet within budgets."),
    "pareto": ("pareto", "Find the whole accuracy-latency front."),
    "explain": ("explain", "Show which layers use the latency, and which swaps save most."),
    "export": ("export", "Write a subnet as ONNX, checked against PyTorch."),
    "verify": ("verify", "Measure an exported file against its prediction and budget."),
    "import": ("import_network", "Convert an OFA net.config to an architecture file."),
    "report": ("report", "Write a self-contained HTML page about a subnet."),
    "accuracy": ("accuracy", "Make an accuracy predictor for your own supernet and images."),
    "kit": ("kit", "Profile a device without installing deploy-nas on it."),
    "profiles": ("profiles", "List, show and compare profiles."),
    "spaces": ("spaces", "List the search spaces."),
    "doctor": ("doctor", "Check versions, providers, and anything that would disturb timings."),
}


# Parameters whose option has a different name.
_OPTIONS = {
    "anchors": "--anchor",
    "max_time_budget": "--generations",
    "population_size": "--population",
    "profiles": "--profile",
    **{figure.name: figure.option for figure in FIGURES.values()},
}
_NAMES = "deploy_nas.names"
_PARAMETER = re.compile(r"`([a-z][a-z0-9_]*)`")


def in_options(error: DeployNASError) -> str:
    """The text of an error with options in place of parameters.

    Errors name parameters as Python has them: one as the subject, others in backquotes in message and hint.
    """
    subject = error.subject
    if isinstance(error, OptionError | BudgetError | BudgetMissedError) and subject.isidentifier():
        subject = _option(subject)
    return error.worded(subject, with_options(error.message), with_options(error.hint))


def with_options(text: str) -> str:
    """A text with options in place of the parameters in backquotes."""
    return _PARAMETER.sub(lambda found: _option(found[1]), text)


def _option(parameter: str) -> str:
    return _OPTIONS.get(parameter, "--" + parameter.replace("_", "-"))


class LazyGroup(click.Group):
    """Commands from :data:`COMMANDS`, imported on use; our errors become one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order they are used in."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"deploy_nas.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run and exit: 0 success, 1 a negative result, 2 bad input, 130 stopped by Ctrl-C."""
        extra.pop("standalone_mode", None)
        _write_any_name()
        try:
            result = super().main(args, standalone_mode=False, **extra)
            raise SystemExit(result if isinstance(result, int) else 0)
        except click.exceptions.Abort:
            click.echo("stopped", err=True)
            raise SystemExit(130) from None
        except click.ClickException as error:
            error.show()
            raise SystemExit(2) from None
        except DeployNASError as error:
            click.echo(f"error: {in_options(error)}", err=True)
            raise SystemExit(error.exit_code) from None
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            raise SystemExit(130) from None
        except BrokenPipeError:
            raise SystemExit(0) from None
        except MemoryError as error:
            click.echo(f"error: not enough memory ({error})", err=True)
            raise SystemExit(2) from None
        except OSError as error:
            subject = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {subject}{error.strerror or error}", err=True)
            raise SystemExit(2) from None


def _write_any_name() -> None:
    """Let the streams write names that are not UTF-8, as ``core.reader.name_text`` has them."""
    codecs.register_error(_NAMES, _as_name_text)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors=_NAMES)


def _as_name_text(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = name_text(error.object[error.start : error.end])
    return text.encode("ascii", "backslashreplace").decode(), error.end


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="deploy-nas")
def main() -> None:
    """Find, export and check image models that fit your device's measured latency."""
