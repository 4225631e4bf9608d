"""Bring a profile up to date with its device's speed: a check of a few seconds, kept in the profile."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_nas.adapters.graphs.form import changed_graphs
from deploy_nas.adapters.kits import BareGraph, make_check_kit
from deploy_nas.adapters.targets import Target, needs_a_person, target_of
from deploy_nas.adapters.targets.checking import checked_there, remove_check
from deploy_nas.core.errors import MismatchError
from deploy_nas.core.fingerprint import Difference, Fingerprint
from deploy_nas.core.measured import ATTEMPTS, Measured
from deploy_nas.device.measure import MeasureSettings, Progress
from deploy_nas.device.runtimes import runtime_of
from deploy_nas.profiling.speed import checked_networks, measured_speed
from deploy_nas.records.profile import Profile, check_readable, load_profile, save_profile
from deploy_nas.records.profile_history import Speed


@dataclass(frozen=True, kw_only=True, slots=True)
class Refreshed:
    """The profile with its new check, and the factor that it predicted with before."""

    profile: Profile
    before: float

    @property
    def speed(self) -> Speed:
        """The new check."""
        return self.profile.speeds[-1]


def refresh_profile(
    path: Path,
    *,
    target: str | Target | None = None,
    ssh_options: Sequence[str] = (),
    allow_unstable: bool = False,
    progress: Progress | None = None,
) -> Refreshed:
    """Time some of a profile's networks on its device, and write the profile with this speed in place.

    Its predictions are of that speed from then on. Its table, its id and what was found with it stay.

    Args:
        path: of the profile.
        target: its device, or the address (``adapters.targets.target_of``); this process unless given.
        ssh_options: for ssh and scp.
        allow_unstable: use times that other work disturbed.
        progress: called with the bursts done, the bursts in total and the kind of unit.

    Raises:
        MismatchError: a profile of another device, runtime, provider, precision or number of threads, or of
            graphs that this deploy-nas writes differently; nothing is written.
        RecordError: no network was measured for the profile.
        TargetError: the target cannot be reached or used.
        UnstableDeviceError: other work disturbed the runs; ``allow_unstable`` uses them.
    """
    profile = load_profile(path)
    checked_networks(profile)
    changed = changed_graphs(profile)
    _check_same(path, [] if changed is None else [changed])
    if target is None:
        _check_same(path, profile.differences(_here(profile)), hint="name its `target` if it is elsewhere, ")
        speed = measured_speed(profile, allow_unstable=allow_unstable, progress=progress)
        return _written(path, profile, speed)
    there = _There(path, profile, target_of(target, ssh_options), progress)
    speed = measured_speed(profile, allow_unstable=allow_unstable, timed=there.timed, attempts=there.attempts)
    refreshed = _written(path, profile, replace(speed, created=there.created or speed.created))
    there.remove()
    return refreshed


def _written(path: Path, profile: Profile, speed: Speed) -> Refreshed:
    """Add a check to the profile's file, which others may have written meanwhile.

    Raises:
        MismatchError: it is another profile now.
    """
    now = load_profile(path)
    if now.id != profile.id:
        raise MismatchError(
            f"was profile {profile.id} when its device was checked, and is {now.id} now",
            subject=str(path),
            hint="refresh again",
        )
    refreshed = replace(now, speeds=(*now.speeds, speed))
    save_profile(check_readable(refreshed), path, force=True)
    return Refreshed(profile=refreshed, before=profile.factor)


def _check_same(path: Path, differences: Sequence[Difference], hint: str = "") -> None:
    """Raise :class:`MismatchError` naming the differences, if there are any."""
    if differences:
        raise MismatchError(
            f"is not of this device as it is now ({'; '.join(map(str, differences))})",
            subject=str(path),
            hint=f"{hint}carry it over (`like`), or profile again",
        )


def _here(profile: Profile) -> Fingerprint:
    """This device, as the profile would be timed on it."""
    on = profile.fingerprint
    return runtime_of(on.provider).fingerprint(
        threads=on.threads,
        provider=on.provider,
        provider_options=on.provider_options,
        precision=on.precision,
        pinned=on.pinned,
    )


class _There:
    """Times graphs on a device that must be the profile's; ``created`` is when it did."""

    def __init__(self, path: Path, profile: Profile, device: Target, progress: Progress | None) -> None:
        self.path, self.profile, self.device, self.progress = path, profile, device, progress
        self.created: str | None = None
        self._kit: bytes | None = None

    @property
    def attempts(self) -> int:
        """One where a person has to do something for each."""
        return 1 if needs_a_person(self.device) else ATTEMPTS

    def timed(self, graphs: Sequence[BareGraph], how: MeasureSettings) -> list[Measured]:
        """A value for each graph.

        Raises:
            MismatchError: another device, or the result of another kit.
        """
        on, where = self.profile.fingerprint, self.device.address
        named = {f"network {number}": graph for number, graph in enumerate(graphs, 1)}
        self._kit = make_check_kit(
            named,
            how,
            provider=on.provider,
            provider_options=on.provider_options,
            core_us=self.profile.noise.core_us,
        )
        found = checked_there(self._kit, self.device, self.progress)
        self.created = found.created
        now = replace(found.device, precision=on.precision, pinned=on.pinned)
        _check_same(self.path, self.profile.differences(now, where=f"at {where}"))
        models = [found.model(name, where) for name in named]
        for model, graph in zip(models, graphs, strict=True):
            if model.sha256 != hashlib.sha256(graph.graph).hexdigest():
                raise MismatchError("timed other networks than were sent", subject=where)
        return [model.measured for model in models]

    def remove(self) -> None:
        """Remove the kit there, once the profile is written."""
        if self._kit is not None:
            remove_check(self._kit, self.device)
