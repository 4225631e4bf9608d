"""Shared by the fleet's commands: profiles in its folder, devices as targets, a run that is written down."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from deploy_nas.adapters.targets import Target, target_of
from deploy_nas.core.errors import AnswerNo, DeployNASError, MismatchError, UnreachableError
from deploy_nas.core.fingerprint import is_provider
from deploy_nas.device.clocks import timestamp
from deploy_nas.fleet.crew import Desk, ElsewhereTarget, Threads, Work
from deploy_nas.fleet.schedule import PARALLEL, Crew, Ended, Job, Retry, Start
from deploy_nas.records.fleet import Fleet, FleetDevice
from deploy_nas.records.fleet_history import BROKEN, FAILED, UNREACHABLE, Event, History
from deploy_nas.records.profile import Profile, load_profile
from deploy_nas.records.supernet import space_named

Say = Callable[[str], None]
HERE = "here"
# A device that is gone is noticed within a minute; what the user's own options say counts instead.
_NOTICED = ("-oConnectTimeout=20", "-oServerAliveInterval=15", "-oServerAliveCountMax=4")


@dataclass(frozen=True, kw_only=True, slots=True)
class How:
    """How a fleet's jobs are done.

    Args:
        only: names of devices or groups; empty: all.
        parallel: devices at once, at most.
        retry: of what fails because a device cannot be reached.
        crew: makes the crew for the work; threads unless given.
        clock: seconds since 1970, for the history.
        say: called with a line for each job that begins or ends.
    """

    only: Collection[str] = ()
    parallel: int = PARALLEL
    retry: Retry = field(default_factory=Retry)
    crew: Callable[[Work], Crew] = Threads
    clock: Callable[[], float] = time.time
    say: Say | None = None

    def now(self) -> str:
        """The present time as files have it."""
        return timestamp(self.clock())


def profile_path(fleet: Fleet, device: FleetDevice, space: str) -> Path:
    """The profile of a device and a space, by its id or folder; raises :class:`UnknownSpaceError`."""
    name = re.sub(r"[^A-Za-z0-9@+._-]", "-", space_named(space).id)
    return fleet.folder / f"{device.name}.{name}.profile.json"


def held_profile(fleet: Fleet, device: FleetDevice, space: str) -> Profile | None:
    """The profile in the fleet's folder; ``None`` if it is still to be made.

    Raises:
        MismatchError: it is of another space, number of threads, provider or precision than the file says.
        RecordError: it cannot be read.
        UnknownSpaceError: a space that is unknown.
    """
    path = profile_path(fleet, device, space)
    if not path.exists():
        return None
    profile = load_profile(path)
    on = profile.fingerprint
    said = {
        "space": (profile.space.id, space_named(space).id),
        "threads": (on.threads, device.threads),
        "precision": (on.precision, device.precision),
    }
    for what, (found, wanted) in said.items():
        if found != wanted:
            raise MismatchError(
                f"is of {what} {found}, but {fleet.path} says {wanted} for {device.name}",
                subject=str(path),
                hint="move it away, or profile again with `force`",
            )
    if not is_provider(on.provider, device.provider):
        raise MismatchError(
            f"is of provider {on.provider}, but {fleet.path} says {device.provider} for {device.name}",
            subject=str(path),
            hint="move it away, or profile again with `force`",
        )
    return profile


def held_profiles(fleet: Fleet, device: FleetDevice) -> list[Profile]:
    """The device's profiles that can be used; one that is missing or of something else is left out."""
    found = []
    for space in device.spaces:
        try:
            if (profile := held_profile(fleet, device, space)) is not None:
                found.append(profile)
        except DeployNASError:
            continue
    return found


def target_for(device: FleetDevice, desk: Desk) -> Target:
    """The device as a target; one on another machine leaves the desk to others while it works.

    Raises:
        TargetError: its address has another form, or ssh is not installed here.
    """
    over_ssh = device.target.startswith("ssh:")
    options = (*_spread(device.ssh_options), *_NOTICED) if over_ssh else device.ssh_options
    target = target_of(device.target, options)
    return target if device.host == HERE else ElsewhereTarget(target, desk)


def _spread(options: Collection[str]) -> tuple[str, ...]:
    """Options as ssh takes them: ``-i KEY`` in one text becomes two."""
    return tuple(part for text in options for part in _parts(text))


def _parts(text: str) -> tuple[str, ...]:
    flag, _, value = text.partition(" ")
    return (flag, value.strip()) if re.fullmatch(r"-[A-Za-z]", flag) and value.strip() else (text,)


@dataclass(kw_only=True, slots=True)
class Diary:
    """Says and writes down what happens in a run; ``kind`` is that of its events."""

    how: How
    history: History
    kind: str
    device_of: dict[str, tuple[str, str]]
    events_of: dict[str, list[Event]] = field(default_factory=dict)

    def began(self, start: Start) -> None:
        """A job begins."""
        source = "" if start.source is None else f", carried over from {start.source}"
        again = "" if start.number == 1 else f", try {start.number}"
        self.say(f"{start.job.name}: begins{source}{again}")

    def ended(self, job: Job, ended: Ended, again_in_s: float | None, tries: int) -> None:
        """A try ended: what it found, or why it failed, is added to the history."""
        device, subject = self.device_of[job.name]
        events = self.events_of.pop(job.name, [])
        if ended.error is not None:
            again = "" if again_in_s is None else f"; again in {again_in_s:.0f} s"
            self.say(f"{job.name}: {ended.error}{again}")
            if not events:
                events = [self.event(device, subject, state_of(ended.error), fault=str(ended.error))]
        else:
            self.say(f"{job.name}: done")
        if again_in_s is None:
            self.history.append(events)

    def event(self, device: str, subject: str, state: str, **more: object) -> Event:
        """An event of now."""
        said = {"at": self.how.now(), "device": device, "kind": self.kind, "subject": subject}
        return Event(**said, state=state, **more)  # type: ignore[arg-type]  # the fields of Event

    def say(self, line: str) -> None:
        """Say a line, if anybody listens."""
        if self.how.say is not None:
            self.how.say(line)


def state_of(error: DeployNASError) -> str:
    """The state of a device that failed so; outputs that differ from those here are a promise broken."""
    if isinstance(error, AnswerNo):
        return BROKEN
    return UNREACHABLE if isinstance(error, UnreachableError) else FAILED
