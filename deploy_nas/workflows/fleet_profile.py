"""Profile a fleet: every device and space without a profile, many at once, each kind in full only once.

What is held can be brought up to date in the same run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy_nas.core.errors import DeployNASError, OptionError, RecordError
from deploy_nas.core.shown import Shown
from deploy_nas.fleet.crew import Desk
from deploy_nas.fleet.schedule import Ended, Job, Schedule, Start, drive
from deploy_nas.records.files import make_folder
from deploy_nas.records.fleet import Fleet, FleetDevice
from deploy_nas.records.fleet_history import DONE, PROFILED, History
from deploy_nas.records.profile import Profile
from deploy_nas.workflows.fleet import Diary, How, held_profile, profile_path, target_for
from deploy_nas.workflows.kit import profile_target
from deploy_nas.workflows.profile import ProfileRequest
from deploy_nas.workflows.refresh import refresh_profile


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetProfile:
    """A device and a space after a run.

    Args:
        device: its name.
        space: as the file names it.
        path: of the profile.
        profile: ``None`` if it is missing or cannot be used; as it was if its speed could not be checked.
        made: in this run.
        refreshed: its speed was checked in this run.
        error: why it is missing, or was not refreshed; ``None`` without a fault.
        tries: in this run.
    """

    device: str
    space: str
    path: Path
    profile: Profile | None = None
    made: bool = False
    refreshed: bool = False
    error: DeployNASError | None = None
    tries: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class FleetProfiled(Shown):
    """A run over a fleet."""

    fleet: Fleet
    found: tuple[FleetProfile, ...]

    @property
    def faults(self) -> tuple[FleetProfile, ...]:
        """Devices and spaces without a profile, or whose speed could not be checked."""
        return tuple(one for one in self.found if one.error is not None)

    def _summary(self) -> str:
        made, refreshed = sum(one.made for one in self.found), sum(one.refreshed for one in self.found)
        held = len(self.found) - made - refreshed - len(self.faults)
        again = f"{refreshed} refreshed, " if refreshed else ""
        return f"{made} profiled, {again}{held} held already, {len(self.faults)} failed"


def profile_fleet(
    fleet: Fleet,
    how: How | None = None,
    *,
    fresh: bool = False,
    force: bool = False,
    refresh_held: bool = False,
) -> FleetProfiled:
    """Profile what a fleet lacks; a run that was stopped goes on with the same call.

    Each profile is written when its device is done. What a device cannot give is a fault of that device, and
    the others go on; one that cannot be reached is tried again.

    Args:
        fleet: the devices.
        how: which of them, and how many at once.
        fresh: start over on devices where a run was stopped.
        force: profile again what is held already.
        refresh_held: check the speed of what is held already, and bring it up to date
            (``workflows.refresh``).

    Raises:
        OptionError: a name that is neither a device's nor a group's, or ``force`` and ``refresh_held``
            together.
        OutputError: the folder cannot be written, or another run of this fleet goes on.
        UnknownSpaceError: a space of the file.
    """
    how = how or How()
    if force and refresh_held:
        raise OptionError("profiles again what `refresh_held` keeps: give one of them", subject="force")
    chosen = {device.name for device in fleet.chosen(how.only)}
    make_folder(fleet.folder)
    everything = {job_name(d, space): (d, space) for d in fleet.devices for space in d.spaces}
    paths = _paths(fleet, everything)
    with History(fleet.history) as history:
        held = {name: _held(fleet, *pair, paths[name]) for name, pair in everything.items()}
        mine = {name: one for name, one in held.items() if everything[name][0].name in chosen}
        checked = {
            name for name, one in mine.items() if refresh_held and one is not None and one.error is None
        }
        found = {
            name: one for name, one in mine.items() if one is not None and not force and name not in checked
        }
        jobs = [name for name in mine if name not in found]
        diary = Diary(
            how=how,
            history=history,
            kind=PROFILED,
            device_of={name: (everything[name][0].name, everything[name][1]) for name in jobs},
        )
        desk, made = Desk(), dict[str, Profile]()

        def work(start: Start) -> Ended:
            name = start.job.name
            device, space = everything[name]
            with desk:
                target = target_for(device, desk)
                if name in checked:
                    unstable = device.allow_unstable
                    profile = refresh_profile(paths[name], target=target, allow_unstable=unstable).profile
                else:
                    like = [] if start.source is None else [paths[start.source]]
                    request = _request(device, space, paths[name], like, fresh=fresh, force=force)
                    profile = profile_target(request, target)
            made[name] = profile
            faults = "; ".join(profile.faults)
            diary.events_of[name] = [diary.event(device.name, space, DONE, profile=profile.id, fault=faults)]
            return Ended(usable=profile.stable or device.allow_unstable)

        at_hand = {name: one for name, one in held.items() if name not in jobs or name in checked}
        schedule = Schedule(
            jobs=[
                Job(name=name, host=everything[name][0].host)
                if name in checked
                else job_of(*everything[name], fleet)
                for name in jobs
            ],
            parallel=how.parallel,
            retry=how.retry,
            held=_offers(fleet, at_hand, everything),
        )
        for name, ended in drive(schedule, how.crew(work), diary).items():
            found[name] = FleetProfile(
                device=everything[name][0].name,
                space=everything[name][1],
                path=paths[name],
                profile=made.get(name, None if (one := at_hand.get(name)) is None else one.profile),
                made=name in made and name not in checked,
                refreshed=name in made and name in checked,
                error=ended.error,
                tries=schedule.tries[name],
            )
    return FleetProfiled(fleet=fleet, found=tuple(found[name] for name in everything if name in found))


def job_name(device: FleetDevice, space: str) -> str:
    """The name of the job that profiles a space on a device."""
    return f"{device.name} {space}"


def job_of(device: FleetDevice, space: str, fleet: Fleet) -> Job:
    """That job: devices that are like a device wait for its profile, those like their own group for the first
    that one of them makes."""
    names = (device.name, *([device.group] if device.group else []))
    group = device.like if any(g.name == device.like for g in fleet.groups) else None
    return Job(
        name=job_name(device, space),
        host=device.host,
        offers=tuple(f"{name} {space}" for name in names),
        like=None if device.like is None else f"{device.like} {space}",
        alone=device.like is None or group == device.group,
    )


def _request(
    device: FleetDevice, space: str, output: Path, like: list[Path], *, fresh: bool, force: bool
) -> ProfileRequest:
    return ProfileRequest(
        space=space,
        output=output,
        threads=device.threads,
        image_sizes=device.image_sizes,
        provider=device.provider,
        provider_options=device.provider_options,
        quick=device.quick,
        force=force,
        fresh=fresh,
        precision=device.precision,
        int8_for=device.int8_for,
        like=like,
        allow_unstable=device.allow_unstable,
    )


def _paths(fleet: Fleet, everything: Mapping[str, tuple[FleetDevice, str]]) -> dict[str, Path]:
    """The profiles' files; raises :class:`RecordError` where two spaces of a device have one."""
    paths = {name: profile_path(fleet, *pair) for name, pair in everything.items()}
    seen: dict[Path, str] = {}
    for name, path in paths.items():
        if path in seen:
            raise RecordError(f"names one space twice: {seen[path]!r} and {name!r}", subject=str(fleet.path))
        seen[path] = name
    return paths


def _held(fleet: Fleet, device: FleetDevice, space: str, path: Path) -> FleetProfile | None:
    """The profile in the folder, or why it cannot be used; ``None`` for an empty place."""
    try:
        profile = held_profile(fleet, device, space)
    except DeployNASError as error:
        return FleetProfile(device=device.name, space=space, path=path, error=error)
    return (
        None if profile is None else FleetProfile(device=device.name, space=space, path=path, profile=profile)
    )


def _offers(
    fleet: Fleet,
    held: Mapping[str, FleetProfile | None],
    everything: Mapping[str, tuple[FleetDevice, str]],
) -> dict[str, str]:
    """Profiles in the folder that others can start from: the name of their job, by what it offers.

    Of a group, one that was timed in full comes before one that was carried over.
    """
    found: dict[str, str] = {}
    carried: dict[str, str] = {}
    for name, one in held.items():
        device, space = everything[name]
        if one is None or one.profile is None or not (one.profile.stable or device.allow_unstable):
            continue
        for offer in job_of(device, space, fleet).offers:
            (found if one.profile.carried is None else carried).setdefault(offer, name)
    return {**carried, **found}
