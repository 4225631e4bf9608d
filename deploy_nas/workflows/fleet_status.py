"""The state of a fleet: what each device holds, how old, how stable, and how far its speed has moved since.

It is read from the fleet's folder: no device is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deploy_nas.core.errors import DeployNASError
from deploy_nas.core.shown import Shown, html_table
from deploy_nas.records.fleet import Fleet, FleetDevice
from deploy_nas.records.fleet_history import CHECKED, PROFILED, UNREACHABLE, Event, load_history
from deploy_nas.records.profile import Profile
from deploy_nas.workflows.fleet import held_profile, profile_path

HEAD = ("device", "space", "profile", "days", "verdict", "networks take", "promises")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceStatus:
    """A device and a space.

    Args:
        device: its name.
        space: as the file names it; empty for a device that only runs bundles.
        path: of the profile.
        profile: ``None`` if it is missing or cannot be used.
        age_days: of the profile.
        moved_percent: how much longer networks take than when profiled; ``None``: never looked at.
        promises: the last state of each model that was verified there, as "kept" and so on.
        checked: when the last of them was, ISO 8601.
        fault: why there is no profile, or why the last attempt failed.
    """

    device: str
    space: str
    path: Path
    profile: Profile | None = None
    age_days: float | None = None
    moved_percent: float | None = None
    promises: tuple[str, ...] = ()
    checked: str | None = None
    fault: str = ""

    @property
    def verdict(self) -> str:
        """Whether the profile is stable."""
        if self.profile is None:
            return "none"
        carried = "" if self.profile.carried is None else ", carried over"
        return ("stable" if self.profile.stable else "UNSTABLE") + carried

    def row(self) -> list[object]:
        """As a line of a table (``HEAD``)."""
        moved = None if self.moved_percent is None else f"{self.moved_percent:+.1f}%"
        states = {state: self.promises.count(state) for state in dict.fromkeys(self.promises)}
        return [
            self.device,
            self.space,
            None if self.profile is None else self.profile.id,
            None if self.age_days is None else f"{self.age_days:.1f}",
            self.verdict,
            moved,
            ", ".join(f"{count} {state}" for state, count in states.items()) or None,
        ]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class FleetStatus(Shown):
    """All devices of a fleet."""

    fleet: Fleet
    devices: tuple[DeviceStatus, ...]

    def _summary(self) -> str:
        held = sum(one.profile is not None for one in self.devices)
        return f"{held} of {len(self.devices)} profiled"

    def _details(self) -> str:
        return html_table(HEAD, [one.row() for one in self.devices])


def fleet_status(
    fleet: Fleet, only: Collection[str] = (), clock: Callable[[], float] = time.time
) -> FleetStatus:
    """The state of a fleet, from its folder.

    Raises:
        OptionError: a name that is neither a device's nor a group's.
        UnknownSpaceError: a space of the file.
        RecordError: a history that cannot be read.
    """
    of_device: dict[str, list[Event]] = {}
    for event in load_history(fleet.history):
        of_device.setdefault(event.device, []).append(event)
    found = [
        _status(fleet, device, space, of_device.get(device.name, []), clock())
        for device in fleet.chosen(only)
        for space in (device.spaces or ("",))
    ]
    return FleetStatus(fleet=fleet, devices=tuple(found))


def _status(
    fleet: Fleet, device: FleetDevice, space: str, events: Sequence[Event], now_s: float
) -> DeviceStatus:
    path = profile_path(fleet, device, space) if space else fleet.folder
    profile, fault = None, ""
    try:
        profile = held_profile(fleet, device, space) if space else None
    except DeployNASError as error:
        fault = str(error)
    last = {event.subject: event for event in events if event.kind == CHECKED}
    mine = [e for e in events if (e.kind == PROFILED and e.subject == space) or e.kind == CHECKED]
    if not fault and mine and mine[-1].state in (UNREACHABLE, "failed"):
        fault = mine[-1].fault
    return DeviceStatus(
        device=device.name,
        space=space,
        path=path,
        profile=profile,
        age_days=None if profile is None else _age_days(profile.created, now_s),
        moved_percent=None if profile is None else moved_percent(profile, events),
        promises=tuple(event.state for event in last.values()),
        checked=max((event.at for event in last.values()), default=None),
        fault=fault,
    )


def moved_percent(profile: Profile, events: Sequence[Event]) -> float | None:
    """How much longer networks take than when profiled, by the newest look at the device's speed.

    That is a check of the profile (``profile --refresh``), or a model that was verified since; ``None``
    without either.
    """
    checked = profile.speeds[-1].created if profile.speeds else profile.created
    seen = [e for e in events if e.profile == profile.id and e.speed is not None and e.at >= checked]
    if seen and seen[-1].speed is not None:
        return 100.0 * (profile.factor / seen[-1].speed - 1.0)
    return profile.speeds[-1].percent if profile.speeds else None


def _age_days(created: str, now_s: float) -> float | None:
    try:
        return max(0.0, (now_s - datetime.fromisoformat(created).timestamp()) / 86400.0)
    except ValueError:
        return None
