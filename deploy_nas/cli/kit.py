"""``deploy-nas kit``: make, import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from deploy_nas.cli import show
from deploy_nas.cli.profile import request_of, timing_options
from deploy_nas.core.reader import shell_quoted


@click.group("kit")
def command() -> None:
    """Profile a device without installing deploy-nas on it.

    The kit is one file; the device needs python3, numpy and onnxruntime.
    """


@command.command("make")
@timing_options
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("kit.pyz"), show_default=True)
def make(output: Path, **timing: Any) -> None:
    """Write a kit."""
    from deploy_nas.workflows.kit import write_kit

    request = request_of(output=output, **timing)
    size = write_kit(request)
    show.say(f"wrote {output} ({size / 1e6:.1f} MB); on the device: python3 {output.name} -o result.jsonl")
    like = "".join(f" --like {shell_quoted(path)}" for path in request.like)
    show.say(f"then here: deploy-nas kit import result.jsonl{like} -o device.profile.json")


@command.command("import")
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("device.profile.json"), show_default=True
)
@click.option(
    "--like",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Profile that the kit carries over; may be repeated.",
)
@click.option("--force", is_flag=True, help="Replace the output.")
def import_kit(result: Path, output: Path, like: tuple[Path, ...], force: bool) -> None:
    """Check a kit's RESULT and write the device's profile."""
    from deploy_nas.cli.profiles import summary
    from deploy_nas.workflows.kit import import_result

    show.say(summary(import_result(result, output, like=like, force=force)))
    show.say(f"wrote {output}")
