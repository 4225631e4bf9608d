"""The command group, whose commands are imported when they run."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Sequence
from typing import Any

import click

from deploy_nas.cli import conventions, ends
from deploy_nas.cli.show import one_line, say
from deploy_nas.cli.wording import with_options
from deploy_nas.core.errors import DeployNASError
from deploy_nas.core.notices import telling

_log = logging.getLogger(__name__)

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
    "demo": ("demo", "Write a web page that classifies pictures with an exported file."),
    "report": ("report", "Write a self-contained HTML page about a subnet."),
    "accuracy": ("accuracy", "Make an accuracy predictor for your own supernet and images."),
    "kit": ("kit", "Profile a device without installing deploy-nas on it."),
    "profiles": ("profiles", "List, show and compare profiles."),
    "fleet": ("fleet", "Profile, verify and look after many devices at once."),
    "spaces": ("spaces", "List the search spaces."),
    "doctor": ("doctor", "Check versions, providers, and anything that would disturb timings."),
}


def _say(text: str) -> None:
    """A notice on standard error, if that takes it."""
    with contextlib.suppress(OSError, ValueError):
        say(f"note: {one_line(with_options(text))}", err=True, warning=True)


class LazyGroup(conventions.Group):
    """Commands from :data:`COMMANDS`, imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order they are used in."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"deploy_nas.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return conventions.keep(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; with ``-v``, say where an error of it was raised."""
        try:
            return super().invoke(ctx)
        except DeployNASError:
            _log.debug("raised here:", exc_info=True)
            raise

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run and exit with the code of :mod:`deploy_nas.cli.ends`; without ``args``, as the program."""
        extra["standalone_mode"] = False

        def work() -> object:
            with telling(_say):
                return super(LazyGroup, self).main(args, **extra)

        if args is not None:
            raise SystemExit(ends.code_of(work))
        ends.prepare()
        ends.leave(ends.code_of(work))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@conventions.version_option()
def main() -> None:
    """Find, export and check image models that fit your device's measured latency."""
