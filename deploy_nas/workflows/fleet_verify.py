"""Verify what a fleet's devices run: each bundle measured again on its device, and written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy_nas.core.errors import DeployNASError, RecordError, UnstableDeviceError
from deploy_nas.core.shown import Shown
from deploy_nas.core.space import image_size_of
from deploy_nas.deploy.model_file import ModelFile
from deploy_nas.fleet.crew import Desk
from deploy_nas.fleet.schedule import Ended, Job, Schedule, Start, drive
from deploy_nas.records.files import make_folder
from deploy_nas.records.fleet import Fleet, FleetDevice
from deploy_nas.records.fleet_history import BROKEN, CHECKED, KEPT, UNPROMISED, UNREACHABLE, Event, History
from deploy_nas.records.profile import Profile
from deploy_nas.workflows.fleet import Diary, How, held_profiles, state_of, target_for
from deploy_nas.workflows.fleet_page import write_page
from deploy_nas.workflows.verify import Verified, VerifyRequest, models_at, verify_models


@dataclass(frozen=True, kw_only=True, slots=True)
class Remeasured:
    """A model that was measured again.

    Args:
        name: of its file, and of the bundle that it is in.
        verified: the measurement.
        limit_ms: the latency that was promised; ``None`` if none was.
        profile: id of the device's profile that it was compared with.
    """

    name: str
    verified: Verified
    limit_ms: float | None
    profile: str | None

    @property
    def state(self) -> str:
        """Whether the promise is "kept", "broken" or was never made."""
        if self.limit_ms is None:
            return UNPROMISED
        return KEPT if self.verified.verification.measured.latency_ms <= self.limit_ms else BROKEN


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetCheck:
    """A bundle, or an exported file, on a device.

    Args:
        device: its name.
        path: of the bundle.
        models: as far as they were measured.
        state: "kept", "broken" or "unpromised"; without a measurement "unreachable" or "failed".
        error: why it was not measured.
        tries: in this run.
    """

    device: str
    path: Path
    models: tuple[Remeasured, ...] = ()
    state: str
    error: DeployNASError | None = None
    tries: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class FleetVerified(Shown):
    """A check of a fleet."""

    fleet: Fleet
    found: tuple[FleetCheck, ...]
    page: Path

    def in_state(self, *states: str) -> tuple[FleetCheck, ...]:
        """The checks that ended so."""
        return tuple(one for one in self.found if one.state in states)

    @property
    def broken(self) -> tuple[FleetCheck, ...]:
        """Bundles that broke a promise."""
        return self.in_state(BROKEN)

    @property
    def faults(self) -> tuple[FleetCheck, ...]:
        """Bundles that were not measured."""
        return tuple(one for one in self.found if one.error is not None and one.state != BROKEN)

    def _summary(self) -> str:
        away = len(self.in_state(UNREACHABLE))
        return f"{len(self.found)} measured again, {len(self.broken)} broken, {away} unreachable"


def verify_fleet(fleet: Fleet, how: How | None = None) -> FleetVerified:
    """Measure every bundle on its device, compare it with what it promises, and write history and page.

    A promise is the budget in a file, or else the bound of its prediction. What is over it on an unstable
    device is measured again, as often as what cannot be reached is tried.

    Raises:
        OptionError: a name that is neither a device's nor a group's.
        RecordError: no device has anything to verify.
        OutputError: the folder cannot be written, or another run of this fleet goes on.
    """
    how = how or How()
    chosen = fleet.chosen(how.only)
    make_folder(fleet.folder)
    asked = {f"{d.name} {path.name}": (d, path) for d in chosen for path in fleet.bundles_of(d)}
    if len(asked) < sum(len(fleet.bundles_of(d)) for d in chosen):
        raise RecordError("names two bundles of one file name for a device", subject=str(fleet.path))
    if not asked:
        raise RecordError(
            "has nothing to verify",
            subject=str(fleet.path),
            hint=f"name 'bundles', or put them into {fleet.folder / 'bundles' / chosen[0].name}",
        )
    with History(fleet.history) as history:
        diary = Diary(
            how=how,
            history=history,
            kind=CHECKED,
            device_of={name: (d.name, path.name) for name, (d, path) in asked.items()},
        )
        desk, measured = Desk(), dict[str, tuple[Remeasured, ...]]()

        def work(start: Start) -> Ended:
            name = start.job.name
            measured.pop(name, None)
            with desk:
                found = measured[name] = _remeasured(fleet, *asked[name], desk)
            device = asked[name][0].name
            diary.events_of[name] = [_event(diary, device, one) for one in found]
            return _judged(found)

        jobs = [Job(name=name, host=device.host) for name, (device, _) in asked.items()]
        schedule = Schedule(jobs=jobs, parallel=how.parallel, retry=how.retry)
        ends = drive(schedule, how.crew(work), diary)
        checks = tuple(
            _check(*asked[name], measured.get(name, ()), ends[name], schedule.tries[name]) for name in asked
        )
        write_page(fleet, history.events, how.now())
    return FleetVerified(fleet=fleet, found=checks, page=fleet.page)


def _remeasured(fleet: Fleet, device: FleetDevice, path: Path, desk: Desk) -> tuple[Remeasured, ...]:
    """Every model at a path, each with the device's profile of its space and precision if there is one."""
    profiles = held_profiles(fleet, device)
    with_profile: dict[str | None, list[ModelFile]] = {}
    for model in models_at(path):
        with_profile.setdefault(_profile_of(model, profiles), []).append(model)
    target = target_for(device, desk)
    found = []
    for held, models in with_profile.items():
        profile = next((p for p in profiles if p.id == held), None)
        verified = verify_models(models, profile, VerifyRequest(path=path, target=target))
        for model, one in zip(models, verified, strict=True):
            file = Path(model.subject.rpartition(": ")[2]).name
            name = path.name if file == path.name else f"{path.name}: {file}"
            limit_ms = _limit_ms(fleet, device, model)
            found.append(Remeasured(name=name, verified=one, limit_ms=limit_ms, profile=held))
    return tuple(found)


def _profile_of(model: ModelFile, profiles: Sequence[Profile]) -> str | None:
    """The id of the first profile that predicts the model's latency."""
    said = model.metadata
    for profile in profiles:
        same = profile.space.id == said.space.id and profile.fingerprint.precision == said.precision
        if same and model.single and image_size_of(said.architecture) in profile.image_sizes:
            return profile.id
    return None


def _limit_ms(fleet: Fleet, device: FleetDevice, model: ModelFile) -> float | None:
    """The latency that was promised: the file's budget, else the fleet's for the device, else the bound."""
    said = model.metadata.predicted
    given = (said.budget_ms, fleet.budget_ms(device), said.bound_ms if model.single else None)
    return next((limit_ms for limit_ms in given if limit_ms is not None), None)


def _judged(found: Sequence[Remeasured]) -> Ended:
    """Another try for a model over its promise on an unstable device: it may be within it then."""
    for one in found:
        faults = one.verified.verification.faults
        if one.state == BROKEN and faults:
            text = f"over its promise, but measured on an unstable machine: {'; '.join(faults)}"
            return Ended(error=UnstableDeviceError(text, subject=one.name), again=True)
    return Ended()


def _event(diary: Diary, device: str, one: Remeasured) -> Event:
    said = one.verified.verification
    return diary.event(
        device,
        one.name,
        one.state,
        fault="; ".join(said.faults),
        profile=one.profile,
        measured_ms=said.measured.latency_ms,
        limit_ms=one.limit_ms,
        speed=said.speed,
        sha256=said.sha256,
    )


def _check(
    device: FleetDevice, path: Path, models: tuple[Remeasured, ...], ended: Ended, tries: int
) -> FleetCheck:
    states = [one.state for one in models]
    if BROKEN in states:
        state = BROKEN
    elif ended.error is not None:
        state = state_of(ended.error)
    else:
        state = KEPT if KEPT in states else UNPROMISED
    return FleetCheck(
        device=device.name, path=path, models=models, state=state, error=ended.error, tries=tries
    )
