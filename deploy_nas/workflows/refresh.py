"""Bring a profile up to date with its device's speed: a check of a few seconds, kept in the profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_nas.adapters.graphs.form import changed_graphs
from deploy_nas.adapters.kits import BareGraph, make_check_kit
from deploy_nas.adapters.targets import Target, target_of
from deploy_nas.adapters.targets.checking import checked_there
from deploy_nas.core.errors import MismatchError
from deploy_nas.core.fingerprint import Difference, Fingerprint
from deploy_nas.core.measured import Measured
from deploy_nas.device.measure import MeasureSettings, Progress
from deploy_nas.device.runtimes import runtime_of
from deploy_nas.profiling.speed import Timed, checked_networks, measured_speed
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
        timed = None
        _check_same(path, profile.differences(_here(profile)))
    else:
        timed = _there(path, profile, target_of(target, ssh_options), progress)
    speed = measured_speed(profile, allow_unstable=allow_unstable, progress=progress, timed=timed)
    refreshed = replace(profile, speeds=(*profile.speeds, speed))
    save_profile(check_readable(refreshed), path, force=True)
    return Refreshed(profile=refreshed, before=profile.factor)


def _check_same(path: Path, differences: Sequence[Difference]) -> None:
    """Raise :class:`MismatchError` naming the differences, if there are any."""
    if differences:
        raise MismatchError(
            f"is not of this device as it is now ({'; '.join(map(str, differences))})",
            subject=str(path),
            hint="carry it over (`like`), or profile again",
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


def _there(path: Path, profile: Profile, device: Target, progress: Progress | None) -> Timed:
    """Times graphs on a device that must be the profile's."""
    on = profile.fingerprint

    def timed(graphs: Sequence[BareGraph], how: MeasureSettings) -> list[Measured]:
        names = [f"network {number}" for number in range(1, len(graphs) + 1)]
        kit = make_check_kit(
            dict(zip(names, graphs, strict=True)),
            how,
            provider=on.provider,
            provider_options=on.provider_options,
            core_us=profile.noise.core_us,
        )
        found = checked_there(kit, device, progress)
        now = replace(found.device, precision=on.precision, pinned=on.pinned)
        _check_same(path, profile.differences(now, where="there"))
        return [found.model(name, device.address).measured for name in names]

    return timed
