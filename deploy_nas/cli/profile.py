"""``deploy-nas profile``."""

from __future__ import annotations

from collections.abc import Callable
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
            metavar="ID|FOLDER",
            help="Search space; `deploy-nas spaces` lists them  [with --like: that profile's]",
        ),
        click.option(
            "--like",
            multiple=True,
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Time 20 networks only, and carry this profile's table over; may be repeated.",
        ),
        click.option(
            "--threads",
            type=numbers.THREADS,
            default=1,
            show_default=True,
            help="Intra-op threads, pinned to the device's cores.",
        ),
        click.option(
            "--image-sizes",
            metavar="PX,PX",
            help="Image sizes to profile  [the space's list; with --like: that profile's]",
        ),
        click.option(
            "--runtime",
            type=click.Choice(["onnxruntime", "openvino"]),
            default="onnxruntime",
            show_default=True,
            help="Runtime that the device runs models with.",
        ),
        click.option(
            "--provider",
            default="cpu",
            show_default=True,
            help="Execution provider of ONNX Runtime, or device of OpenVINO; an error if it is not there.",
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
        show.unstable_option("With --like: use a profile of an unstable machine."),
        click.option("--force", is_flag=True, help="Replace the output."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def request_of(
    *,
    output: Path | None,
    space: str | None,
    like: tuple[Path, ...],
    image_sizes: str | None,
    runtime: str,
    provider: str,
    provider_option: tuple[str, ...],
    precision: str,
    int8_for: str,
    **others: Any,
) -> ProfileRequest:
    """The options of :func:`timing_options` as a request; raises :class:`click.UsageError`.

    Without an ``output``, it is named after the space, the threads, the precision and the runtime.
    """
    from deploy_nas.core.fingerprint import on_runtime
    from deploy_nas.workflows.profile import ProfileRequest

    if space is None and like:
        from deploy_nas.records.profile import load_profile

        space = load_profile(like[0]).space.id
    if space is None:
        raise click.UsageError("Missing option '--space'.")

    if int8_for != "auto" and precision != "int8":
        raise click.UsageError("--int8-for needs --precision int8")
    named = "" if precision == "fp32" else f"-{precision}"
    named += "" if runtime == "onnxruntime" else f"-{runtime}"
    return ProfileRequest(
        space=space,
        like=like,
        output=output or Path(f"{space}-{others['threads']}t{named}.profile.json"),
        image_sizes=show.whole_numbers(image_sizes, "--image-sizes"),
        provider=provider if ":" in provider else on_runtime(runtime, provider),
        provider_options=show.key_values(provider_option, "--provider-option"),
        precision=precision,
        int8_for=int8_for,
        **others,
    )


_OF_REFRESH = {"refresh", "target", "ssh_option", "allow_unstable", "as_json", "quiet", "verbose"}


@click.command("profile")
@timing_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Profile file  [SPACE-Nt.profile.json]")
@show.target_options("time")
@click.option(
    "--refresh",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Instead: check the device's speed in some seconds, and bring its profile up to date.",
)
@click.option("--fresh", is_flag=True, help="Start over instead of resuming a stopped run.")
@show.json_option()
@click.pass_context
def command(
    ctx: click.Context,
    /,
    output: Path | None,
    target: str | None,
    ssh_option: tuple[str, ...],
    refresh: Path | None,
    fresh: bool,
    as_json: bool,
    **timing: Any,
) -> None:
    """Time every layer of a space on a device and write a latency table.

    Ctrl-C keeps the timings made so far; the same command resumes the run.
    """
    if refresh is not None:
        given = show.given_options(ctx)
        if unused := sorted(given.keys() - _OF_REFRESH):
            raise click.UsageError(
                f"{given[unused[0]]} has no effect with --refresh, which checks the profile's own device and "
                "writes the profile in place"
            )
        unstable = timing["allow_unstable"]
        _refresh(refresh, target, ssh_option, allow_unstable=unstable, as_json=as_json)
        return
    from deploy_nas.cli.profiles import tell_written
    from deploy_nas.workflows.kit import profile_target
    from deploy_nas.workflows.profile import journal_path, profile_device

    request = request_of(output=output, fresh=fresh, **timing)
    space, path = request.space, request.output
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
    tell_written(path, profile, as_json=as_json)


def _refresh(
    path: Path,
    target: str | None,
    ssh_option: tuple[str, ...],
    *,
    allow_unstable: bool,
    as_json: bool,
) -> None:
    """Check the speed of a profile's device, here or at a target, and say how it changed."""
    from deploy_nas.workflows.refresh import refresh_profile

    with show.progress("checking the speed", quiet=as_json) as update:
        found = refresh_profile(
            path,
            target=target,
            ssh_options=ssh_option,
            allow_unstable=allow_unstable,
            progress=update,
        )
    profile, speed = found.profile, found.speed
    if as_json:
        show.emit_json(
            {
                "path": str(path),
                "id": profile.id,
                "factor": speed.factor,
                "before": found.before,
                "fastest": min(profile.factors),
                "slowest": max(profile.factors),
                "checks": len(profile.speeds),
                "sentinel_ms": speed.sentinel_ms,
            }
        )
        return
    from deploy_nas.records.profile_lines import speed_line

    change = 100 * (speed.factor / found.before - 1)
    more = "more" if change >= 0 else "less"
    show.say(f"networks take {abs(change):.1f}% {more} time than {path} said; now it says what they take")
    show.say(speed_line(profile))
