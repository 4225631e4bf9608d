"""``deploy-nas profile``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy_nas.cli import numbers, show

if TYPE_CHECKING:
    from deploy_nas.workflows.profile import ProfileRequest


def timing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that `profile` and `kit make` share; see :func:`request_of`."""
    options: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
        click.option(
            "--space",
            required=True,
            metavar="ID|FOLDER",
            help="Search space; `deploy-nas spaces` lists them.",
        ),
        click.option(
            "--threads",
            type=numbers.THREADS,
            default=1,
            show_default=True,
            help="Intra-op threads, pinned to the device's cores.",
        ),
        click.option("--image-sizes", metavar="N,N", help="Image sizes to profile  [the space's list]"),
        click.option(
            "--provider",
            default="cpu",
            show_default=True,
            help="Execution provider; an error if the device lacks it.",
        ),
        click.option(
            "--provider-option",
            multiple=True,
            metavar="KEY=VALUE",
            help="Provider option; may be repeated.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["fp32", "int8"]),
            default="fp32",
            show_default=True,
            help="Precision of the timed networks.",
        ),
        click.option(
            "--int8-for",
            type=click.Choice(["auto", "vnni", "x86", "arm"]),
            default="auto",
            show_default=True,
            help="Processor to choose the INT8 number formats for; auto: the device's.",
        ),
        click.option(
            "--quick", is_flag=True, help="Fewer networks: about a third of the time, less precise."
        ),
        show.seed_option("Seed for drawing and ordering the networks."),
        click.option("--force", is_flag=True, help="Replace the output."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def request_of(
    *,
    output: Path,
    image_sizes: str | None,
    provider_option: tuple[str, ...],
    precision: str,
    int8_for: str,
    **others: Any,
) -> ProfileRequest:
    """The options of :func:`timing_options` as a request; raises :class:`click.UsageError`."""
    from deploy_nas.workflows.profile import ProfileRequest

    if int8_for != "auto" and precision != "int8":
        raise click.UsageError("--int8-for needs --precision int8")
    return ProfileRequest(
        output=output,
        image_sizes=show.whole_numbers(image_sizes, "--image-sizes"),
        provider_options=show.key_values(provider_option, "--provider-option"),
        precision=precision,
        int8_for=int8_for,
        **others,
    )


@click.command("profile")
@timing_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Profile file  [SPACE-Nt.profile.json]")
@show.target_options("time")
@click.option("--fresh", is_flag=True, help="Start over instead of resuming a stopped run.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    output: Path | None,
    target: str | None,
    ssh_option: tuple[str, ...],
    fresh: bool,
    as_json: bool,
    **timing: Any,
) -> None:
    """Time every layer of a space on a device and write a latency table.

    Ctrl-C keeps the timings made so far; the same command resumes the run.
    """
    from deploy_nas.workflows.kit import profile_target
    from deploy_nas.workflows.profile import journal_path, profile_device

    space = timing["space"]
    named = "" if timing["precision"] == "fp32" else f"-{timing['precision']}"
    path = output or Path(f"{space}-{timing['threads']}t{named}.profile.json")
    request = request_of(output=path, fresh=fresh, **timing)
    try:
        with show.progress(f"profiling {space}", quiet=as_json) as update:
            if target is None:
                profile = profile_device(request, update, say=lambda line: show.say(line, err=True))
            else:
                profile = profile_target(request, target, ssh_options=ssh_option, progress=update)
    except KeyboardInterrupt:
        where = f"in {journal_path(path)}" if target is None else f"on {target}"
        show.say(f"stopped; the timings are kept {where}; the same command resumes the run", err=True)
        raise SystemExit(130) from None
    if as_json:
        figures = {
            "validation": {} if profile.validation is None else profile.validation.to_json(),
            "noise": asdict(profile.noise),
            "duration_s": profile.duration_s,
        }
        show.emit_json({"path": str(path), "id": profile.id, "stable": profile.stable, **figures})
        return
    from deploy_nas.records.profile_lines import profile_lines as summary

    show.say(summary(profile))
    show.say(f"wrote {path}")
