"""Profile this device for one space: make a plan, time it into a journal, fit the table, write it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deploy_nas.core.fingerprint import CPU_PROVIDER
from deploy_nas.core.precision import FP32, INT8, THIS_PROCESSOR, scheme_for
from deploy_nas.core.settings import Settings
from deploy_nas.device import machine
from deploy_nas.device.journal import JournalContent
from deploy_nas.device.measure import Progress
from deploy_nas.device.run import time_plan
from deploy_nas.profiling.plan import ProfilePlan, make_plan
from deploy_nas.profiling.table import make_profile
from deploy_nas.records.files import check_output
from deploy_nas.records.profile import Profile, check_readable, save_profile
from deploy_nas.records.supernet import space_named


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileRequest:
    """A space to profile, and how to time it; ``image_sizes`` ``None`` takes the space's own list."""

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


def settings_for(request: ProfileRequest) -> Settings:
    """The settings that a request's plan is timed with."""
    settings = Settings(
        threads=request.threads,
        provider=request.provider,
        provider_options=request.provider_options,
        seed=request.seed,
        precision=request.precision,
    )
    return (
        replace(settings, rounds=4, row_rounds=2, extra_rounds=1, burst_ms=15.0)
        if request.quick
        else settings
    )


def plan_for(request: ProfileRequest) -> ProfilePlan:
    """The plan of a request; raises :class:`InputError` for a size that the space lacks."""
    return make_plan(
        space_named(request.space),
        request.image_sizes,
        quick=request.quick,
        seed=request.seed,
        precision=request.precision,
        activations=request.activations if request.precision == INT8 else "uint8",
    )


def profile_device(
    request: ProfileRequest, progress: Progress | None = None, say: Callable[[str], None] | None = None
) -> Profile:
    """Time a space on this device and write its profile; ``say`` is called with the result of the A/A test.

    A stopped run is resumed from its journal; ``fresh`` starts over. The journal is removed when the profile
    is written.

    Raises:
        InputError: an invalid space, size, provider, thread count or output; nothing is timed.
        MismatchError: the journal is of another run.
    """
    check_output(request.output, force=request.force)
    plan = plan_for(request)
    path = journal_path(request.output)
    made: list[Profile] = []

    def finish(timed: JournalContent) -> None:
        profile = make_profile(
            plan,
            timed.bursts,
            fingerprint=timed.header.fingerprint,
            settings=timed.header.settings,
            created=timed.header.created,
            duration_s=timed.duration_s,
            conditions=timed.header.conditions,
        )
        save_profile(check_readable(profile), request.output, force=request.force)
        made.append(profile)

    time_plan(
        plan,
        settings_for(request),
        path,
        fresh=request.fresh,
        finish=finish,
        progress=progress,
        say=say,
    )
    return made[0]
