"""Profile this device for one space: make a plan, time it into a journal, fit the table, write it.

With profiles of other devices, a few networks are timed instead, and their tables carried over. The times are
kept beside the profile for a day: a full profile begins with them.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deploy_nas.core.disk import write_whole
from deploy_nas.core.errors import RecordError
from deploy_nas.core.fingerprint import CPU_PROVIDER, Fingerprint
from deploy_nas.core.notices import notice
from deploy_nas.core.precision import FP32, INT8, THIS_PROCESSOR, scheme_for
from deploy_nas.core.reader import MOST_JSON_BYTES, read_regular
from deploy_nas.core.settings import Settings
from deploy_nas.device import machine
from deploy_nas.device.journal import JournalContent
from deploy_nas.device.measure import Progress
from deploy_nas.device.run import time_plan
from deploy_nas.device.runner import sentinel_limit_ms, to_take_again
from deploy_nas.device.runtimes import runtime_of
from deploy_nas.profiling.carried import carried_profile, check_priors, plan_like
from deploy_nas.profiling.plan import ProfilePlan, make_plan
from deploy_nas.profiling.table import make_profile
from deploy_nas.records.files import check_output
from deploy_nas.records.profile import Profile, check_readable, save_profile
from deploy_nas.records.supernet import space_named
from deploy_nas.workflows.given import GivenProfile, profile_given

_KEPT_S = 24 * 3600.0
_MUCH = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileRequest:
    """A space to profile, and how to time it.

    ``image_sizes`` ``None`` takes the space's own list, or that of the first profile in ``like``, whose
    tables are carried over.
    """

    space: str
    output: Path
    threads: int = 1
    image_sizes: Sequence[int] | None = None
    provider: str = CPU_PROVIDER
    provider_options: Mapping[str, str] = field(default_factory=dict)
    quick: bool = False
    seed: int = 0
    force: bool = False
    fresh: bool = False
    precision: str = FP32
    int8_for: str = THIS_PROCESSOR
    like: Sequence[GivenProfile] = ()
    allow_unstable: bool = False

    @property
    def int8_for_this_processor(self) -> bool:
        """True for INT8 without a named processor."""
        return self.precision == INT8 and self.int8_for == THIS_PROCESSOR

    @property
    def activations(self) -> str:
        """The number format of INT8 activations for the requested processor."""
        return scheme_for(self.int8_for, machine.cpu_features(), platform.machine()).activations


def journal_path(output: Path) -> Path:
    """The journal that keeps the times of an unfinished run, beside the profile."""
    return output.with_name(output.name + ".journal")


def times_path(output: Path) -> Path:
    """The times of a finished run that the next one begins with.

    They are those of a carried-over profile, which a full profile needs too, or of a run that was much
    disturbed: the next one takes only the disturbed ones again.
    """
    return output.with_name(output.name + ".times")


def settings_for(request: ProfileRequest) -> Settings:
    """The settings that a request's plan is timed with."""
    settings = Settings(
        threads=request.threads,
        provider=request.provider,
        provider_options=request.provider_options,
        seed=request.seed,
        precision=request.precision,
        activations=request.activations if request.precision == INT8 else None,
    )
    return (
        replace(settings, rounds=4, row_rounds=2, extra_rounds=1, burst_ms=15.0)
        if request.quick
        else settings
    )


def plan_for(request: ProfileRequest, priors: Sequence[Profile] = ()) -> ProfilePlan:
    """The plan of a request, or the part of it that is timed to carry ``priors`` over.

    Raises:
        InputError: a size that the space lacks; for priors, as ``check_priors`` raises them.
    """
    space, sizes = space_named(request.space), request.image_sizes
    if sizes is None and priors and priors[0].space.id == space.id:
        sizes = priors[0].image_sizes
    plan = make_plan(
        space,
        sizes,
        quick=request.quick,
        seed=request.seed,
        precision=request.precision,
        activations=request.activations if request.precision == INT8 else "uint8",
    )
    if not priors:
        return plan
    check_priors(priors, plan, unstable=request.allow_unstable)
    return plan_like(plan, priors)


def profile_of(plan: ProfilePlan, priors: Sequence[Profile], timed: JournalContent) -> Profile:
    """The profile of a finished run: of the whole plan, or of the part that carries ``priors`` over."""
    header = timed.header
    fingerprint, settings, created = header.fingerprint, header.settings, header.created
    conditions, duration_s = header.conditions, timed.duration_s
    if not plan.only:
        return make_profile(
            plan,
            timed.bursts,
            fingerprint=fingerprint,
            settings=settings,
            created=created,
            duration_s=duration_s,
            conditions=conditions,
        )
    return carried_profile(
        plan,
        priors,
        timed.bursts,
        fingerprint=fingerprint,
        settings=settings,
        created=created,
        duration_s=duration_s,
        conditions=conditions,
    )


def goes_on(timed: JournalContent) -> bool:
    """Whether the next run should take a part of this one again: much of it was timed in slow moments."""
    again = to_take_again(timed.bursts, sentinel_limit_ms(timed.bursts, timed.header.settings.slow_factor))
    return len(again) > _MUCH * len(timed.bursts)


def profile_device(
    request: ProfileRequest, progress: Progress | None = None, say: Callable[[str], None] | None = None
) -> Profile:
    """Time a space on this device and write its profile; ``say`` is called with the result of the A/A test.

    A stopped run is resumed from its journal; ``fresh`` starts over. The journal is removed when the profile
    is written. If much of the run was disturbed, its times are kept for a day, and the next run of the same
    request takes the disturbed ones again.

    Raises:
        InputError: an invalid space, size, provider, thread count or output, or profiles whose tables cannot
            be carried over; nothing is timed.
        MismatchError: the journal is of another run.
    """
    check_output(request.output, force=request.force)
    priors = [profile_given(prior) for prior in request.like]
    plan = plan_for(request, priors)
    if priors:
        check_priors(priors, plan, _here(request), unstable=request.allow_unstable)
    path, times = journal_path(request.output), times_path(request.output)
    made: list[Profile] = []

    def finish(timed: JournalContent) -> None:
        profile = profile_of(plan, priors, timed)
        save_profile(check_readable(profile), request.output, force=request.force)
        made.append(profile)
        again = not priors and goes_on(timed)
        if priors or again:
            write_whole(times, path.read_bytes(), replace=True)
            if again:
                notice(
                    "much of it was timed in slow moments; within a day, profiling again with the same "
                    "arguments and `force` times that part again and keeps the rest",
                    subject=str(request.output),
                )
        else:
            times.unlink(missing_ok=True)

    time_plan(
        plan,
        settings_for(request),
        path,
        fresh=request.fresh,
        earlier=None if priors else lambda: _recent(times),
        finish=finish,
        progress=progress,
        say=say,
    )
    return made[0]


def _here(request: ProfileRequest) -> Fingerprint:
    """This device as the request would time it."""
    runtime = runtime_of(request.provider)
    return runtime.fingerprint(
        threads=request.threads,
        provider=runtime.resolve(request.provider),
        provider_options=request.provider_options,
        precision=request.precision,
        pinned=False,
    )


def _recent(path: Path) -> bytes | None:
    """Times of the last day; older ones may no longer hold."""
    with contextlib.suppress(OSError, RecordError):
        if 0 <= time.time() - path.stat().st_mtime < _KEPT_S:
            return read_regular(path, MOST_JSON_BYTES)
    return None
