"""``deploy-nas kit``: make, import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from deploy_nas.cli import show
from deploy_nas.cli.profile import request_of, timing_options


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

    size = write_kit(request_of(output=output, **timing))
    show.say(f"wrote {output} ({size / 1e6:.1f} MB); on the device: python3 {output.name} -o result.jsonl")
    show.say("then here: deploy-nas kit import result.jsonl -o device.profile.json")


@command.command("import")
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("device.profile.json"), show_default=True
)
@click.option("--force", is_flag=True, help="Replace the output.")
def import_kit(result: Path, output: Path, force: bool) -> None:
    """Check a kit's RESULT and write the device's profile."""
    from deploy_nas.records.profile_lines import profile_lines as summary
    from deploy_nas.workflows.kit import import_result

    show.say(summary(import_result(result, output, force=force)))
    show.say(f"wrote {output}")
