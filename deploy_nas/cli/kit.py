"""``deploy-nas kit``: make, import, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from deploy_nas.cli import numbers, show
from deploy_nas.cli.conventions import Group
from deploy_nas.cli.profile import request_of, timing_options
from deploy_nas.core.reader import shell_quoted


@click.group("kit", cls=Group)
def command() -> None:
    """Profile a device without installing deploy-nas on it.

    The kit is one file; the device needs python3, numpy and the runtime.
    """


@command.command("make")
@timing_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("kit.pyz"), show_default=True, help="Kit."
)
@show.json_option()
def make(output: Path, as_json: bool, **timing: Any) -> None:
    """Write a kit."""
    from deploy_nas.workflows.kit import write_kit

    request = request_of(output=output, **timing)
    size = write_kit(request)
    if as_json:
        show.emit_json({"path": str(output), "size_bytes": size})
        return
    show.say(f"wrote {output} ({size / 1e6:.1f} MB); on the device: python3 {output.name} -o result.jsonl")
    like = "".join(f" --like {shell_quoted(path)}" for path in timing["like"])
    show.say(f"then here: deploy-nas kit import result.jsonl{like} -o device.profile.json")


@command.command("import")
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("device.profile.json"),
    show_default=True,
    help="Profile file.",
)
@click.option(
    "--like",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Profile that the kit carries over; may be repeated.",
)
@click.option("--force", is_flag=True, help="Replace the output.")
@show.json_option()
def import_kit(result: Path, output: Path, like: tuple[Path, ...], force: bool, as_json: bool) -> None:
    """Check a kit's RESULT and write the device's profile."""
    from deploy_nas.cli.profiles import tell_written
    from deploy_nas.workflows.kit import import_result

    profile = import_result(result, output, like=like, force=force)
    tell_written(output, profile, as_json=as_json)


@command.command("serve")
@timing_options
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address of this machine to serve at: no other can be reached.",
)
@click.option("--port", type=numbers.PORT, default=0, help="Port to serve at  [any that is free]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("device.profile.json"),
    show_default=True,
    help="Profile file.",
)
@click.option("--fresh", is_flag=True, help="Start over instead of resuming a stopped run.")
@show.json_option()
def serve(output: Path, host: str, port: int, fresh: bool, as_json: bool, **timing: Any) -> None:
    """Profile a browser that you open: a phone's, or another one here.

    Prints an address to open there. Times are kept here as they are made: the page may be reloaded, and after
    Ctrl-C the same command resumes the run. Ends with the profile, or when no page came for 15 minutes.
    """
    from deploy_nas.cli.profiles import tell_written
    from deploy_nas.workflows.kit import profile_target

    place = f"page://[{host}]:{port}" if ":" in host else f"page://{host}:{port}"
    request = request_of(output=output, fresh=fresh, **timing)
    try:
        with show.progress("waiting for the page") as update:
            profile = profile_target(request, place, progress=update)
    except KeyboardInterrupt:
        show.say("stopped; the timings are kept; the same command resumes the run", err=True)
        raise SystemExit(130) from None
    tell_written(output, profile, as_json=as_json)
