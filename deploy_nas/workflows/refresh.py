"""Bring a profile up to date with its device's speed: a check of a few seconds, kept in the profile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from deploy_nas.adapters.graphs.form import changed_graphs
from deploy_nas.core.errors import MismatchError
from deploy_nas.device.measure import Progress
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
    path: Path, *, allow_unstable: bool = False, progress: Progress | None = None
) -> Refreshed:
    """Time some of a profile's networks here, and write the profile with this speed in place.

    Its predictions are of that speed from then on. Its table, its id and what was found with it stay.

    Raises:
        MismatchError: a profile of another device, runtime, provider, precision or number of threads, or of
            graphs that this deploy-nas writes differently; nothing is timed.
        RecordError: no network was measured for the profile.
        UnstableDeviceError: other work disturbed the runs; ``allow_unstable`` uses them.
    """
    profile = load_profile(path)
    on = profile.fingerprint
    changed = changed_graphs(profile)
    here = runtime_of(on.provider).fingerprint(
        threads=on.threads,
        provider=on.provider,
        provider_options=on.provider_options,
        precision=on.precision,
        pinned=on.pinned,
    )
    differences = (*profile.differences(here), *([] if changed is None else [changed]))
    if differences:
        raise MismatchError(
            f"is not of this device as it is now ({'; '.join(map(str, differences))})",
            subject=str(path),
            hint="carry it over (`like`), or profile again",
        )
    checked_networks(profile)
    speed = measured_speed(profile, allow_unstable=allow_unstable, progress=progress)
    refreshed = replace(profile, speeds=(*profile.speeds, speed))
    save_profile(check_readable(refreshed), path, force=True)
    return Refreshed(profile=refreshed, before=profile.factor)
