"""``deploy-nas fleet``: profile, verify, status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy_nas.cli import ends, numbers, show
from deploy_nas.cli.conventions import Group
from deploy_nas.cli.wording import with_options

if TYPE_CHECKING:
    from deploy_nas.core.errors import DeployNASError
    from deploy_nas.workflows.fleet import How
    from deploy_nas.workflows.fleet_profile import FleetProfile
    from deploy_nas.workflows.fleet_verify import FleetCheck


@click.group("fleet", cls=Group)
def command() -> None:
    """Profile, verify and look after many devices at once.

    FLEET is a file, fleet.toml, that names the devices; what is found is kept in a folder beside it.
    """


def _only_option() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--only",
        multiple=True,
        metavar="NAME",
        help="This device only, or the devices of this group; may be repeated.",
    )


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How the jobs of a fleet are done."""
    options = [
        _only_option(),
        click.option(
            "--jobs", type=numbers.JOBS, default=16, show_default=True, help="Devices at once, at most."
        ),
        click.option(
            "--tries",
            type=numbers.TRIES,
            default=4,
            show_default=True,
            help="Attempts to reach a device.",
        ),
        click.option(
            "--retry-s",
            type=numbers.SECONDS,
            default=10.0,
            show_default=True,
            help="Seconds before the second attempt; each further wait is twice as long, up to 10 minutes.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _how(only: tuple[str, ...], jobs: int, tries: int, retry_s: float) -> How:
    from deploy_nas.fleet.schedule import Retry
    from deploy_nas.workflows.fleet import How

    return How(
        only=only,
        parallel=jobs,
        retry=Retry(tries=tries, wait_s=retry_s),
        say=lambda line: show.say(with_options(line), err=True),
    )


def _state(one: FleetProfile) -> str:
    if one.error is not None:
        return "FAILED"
    return "profiled" if one.made else "refreshed" if one.refreshed else "held"


def _stopped(title: str) -> SystemExit:
    show.say(f"stopped; {title}; the same command goes on", err=True)
    return SystemExit(ends.STOPPED)


@command.command("profile")
@click.argument("fleet", type=click.Path(path_type=Path))
@_run_options
@click.option("--fresh", is_flag=True, help="Start over on devices where a run was stopped.")
@click.option("--force", is_flag=True, help="Profile again what is held already.")
@click.option(
    "--refresh-held",
    is_flag=True,
    help="Check the speed of what is held already, in some seconds each, and bring it up to date.",
)
@show.json_option()
def profile(
    fleet: Path,
    only: tuple[str, ...],
    jobs: int,
    tries: int,
    retry_s: float,
    fresh: bool,
    force: bool,
    refresh_held: bool,
    as_json: bool,
) -> None:
    """Profile the devices of FLEET that have no profile yet, many at once.

    A device that cannot be reached is tried again later, and holds up none of the others. The same command
    goes on where a run was stopped. Exits 3 if a device has no profile in the end, or could not be checked.
    """
    from deploy_nas.records.fleet import load_fleet
    from deploy_nas.workflows.fleet_profile import profile_fleet

    loaded = load_fleet(fleet)
    try:
        how = _how(only, jobs, tries, retry_s)
        done = profile_fleet(loaded, how, fresh=fresh, force=force, refresh_held=refresh_held)
    except KeyboardInterrupt:
        raise _stopped("finished profiles are written, the times of others are kept on the devices") from None
    if as_json:
        show.emit_json(
            {
                "folder": str(loaded.folder),
                "devices": [
                    {
                        "device": one.device,
                        "space": one.space,
                        "path": str(one.path),
                        "state": _state(one).lower(),
                        "profile": None if one.profile is None else one.profile.id,
                        "stable": None if one.profile is None else one.profile.stable,
                        "carried": None if one.profile is None else one.profile.carried is not None,
                        "tries": one.tries,
                        "fault": _text(one.error),
                    }
                    for one in done.found
                ],
            }
        )
    else:
        rows = [
            [
                one.device,
                one.space,
                _state(one),
                None if one.profile is None else "stable" if one.profile.stable else "UNSTABLE",
                None if one.profile is None else f"{one.profile.duration_s:.0f}",
                one.tries or None,
            ]
            for one in done.found
        ]
        show.say(show.table(["device", "space", "state", "verdict", "timed s", "tries"], rows))
        for one in done.faults:
            show.say(f"{one.device} {one.space}: {_text(one.error)}")
        show.say(f"profiles are in {loaded.folder}")
    if done.faults:
        raise SystemExit(ends.PARTLY)


def _text(error: DeployNASError | None) -> str | None:
    return None if error is None else with_options(str(error))


@command.command("verify")
@click.argument("fleet", type=click.Path(path_type=Path))
@_run_options
@show.json_option()
def verify(fleet: Path, only: tuple[str, ...], jobs: int, tries: int, retry_s: float, as_json: bool) -> None:
    """Measure the bundles of FLEET again, each on its device, and compare them with what they promise.

    Adds to the history, and writes a page with a line for each device. Exits 1 if a promise broke, 3 if none
    did but a device could not be reached or used.
    """
    from deploy_nas.records.fleet import load_fleet
    from deploy_nas.workflows.fleet_verify import verify_fleet

    loaded = load_fleet(fleet)
    try:
        done = verify_fleet(loaded, _how(only, jobs, tries, retry_s))
    except KeyboardInterrupt:
        raise _stopped("what was measured is in the history") from None
    if as_json:
        show.emit_json(
            {
                "history": str(loaded.history),
                "page": str(done.page),
                "bundles": [_check_value(one) for one in done.found],
            }
        )
    else:
        head = ["device", "model", "state", "measured ms", "promised ms", "speed", "tries"]
        show.say(show.table(head, [row for one in done.found for row in _check_rows(one)]))
        for one in done.found:
            if one.error is not None:
                show.say(f"{one.device} {one.path.name}: {_text(one.error)}")
        show.say(f"added to {loaded.history}; drawn in {done.page}")
    if done.broken:
        raise SystemExit(1)
    if done.faults:
        raise SystemExit(ends.PARTLY)


def _check_rows(one: FleetCheck) -> list[list[object]]:
    if not one.models:
        return [[one.device, one.path.name, one.state.upper(), None, None, None, one.tries]]
    return [
        [
            one.device,
            model.name,
            "BROKEN" if model.state == "broken" else model.state,
            model.verified.verification.measured.latency_ms,
            model.limit_ms,
            model.verified.verification.speed,
            one.tries,
        ]
        for model in one.models
    ]


def _check_value(one: FleetCheck) -> dict[str, object]:
    from deploy_nas.cli.verify import as_value

    return {
        "device": one.device,
        "path": str(one.path),
        "state": one.state,
        "tries": one.tries,
        "fault": _text(one.error),
        "models": {
            model.name: {"state": model.state, "promised_ms": model.limit_ms, **as_value(model.verified)}
            for model in one.models
        },
    }


@command.command("status")
@click.argument("fleet", type=click.Path(path_type=Path))
@_only_option()
@show.json_option()
def status(fleet: Path, only: tuple[str, ...], as_json: bool) -> None:
    """Say what each device of FLEET holds, how old and how stable it is, and how far its speed has moved.

    Reads the fleet's folder; no device is asked.
    """
    from deploy_nas.records.fleet import load_fleet
    from deploy_nas.workflows.fleet_status import HEAD, fleet_status

    found = fleet_status(load_fleet(fleet), only)
    if not as_json:
        show.say(show.table(list(HEAD), [one.row() for one in found.devices]))
        for one in found.devices:
            if one.fault:
                show.say(f"{one.device} {one.space}".rstrip() + f": {with_options(one.fault)}")
        return
    show.emit_json(
        [
            {
                "device": one.device,
                "space": one.space or None,
                "path": str(one.path),
                "profile": None if one.profile is None else one.profile.id,
                "age_days": one.age_days,
                "verdict": one.verdict,
                "faults": [] if one.profile is None else list(one.profile.faults),
                "moved_percent": one.moved_percent,
                "promises": list(one.promises),
                "checked": one.checked,
                "fault": one.fault or None,
            }
            for one in found.devices
        ]
    )
