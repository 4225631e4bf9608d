"""Carries profiles over: a plan of the few networks that tell most, and the profile that their times make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import MismatchError, OptionError, UnstableDeviceError
from deploy_nas.core.fingerprint import Fingerprint, processor_waits
from deploy_nas.core.settings import Settings
from deploy_nas.core.space import IntArray
from deploy_nas.device.runner import Timings, without_slow_ones
from deploy_nas.profiling.carry import Networks, PriorTables, carry_table, choose_networks
from deploy_nas.profiling.fit import count_rows
from deploy_nas.profiling.plan import ProfilePlan
from deploy_nas.profiling.table import (
    assess_noise,
    check_timed,
    doubts,
    moments_ms,
    scale_out_drift,
)
from deploy_nas.records.profile import Profile
from deploy_nas.records.profile_history import Carried, Prior
from deploy_nas.records.profile_parts import Pair, Row


def check_priors(
    priors: Sequence[Profile], plan: ProfilePlan, here: Fingerprint | None = None, *, unstable: bool = False
) -> None:
    """Check that tables can be carried over to a plan.

    Args:
        priors: their profiles.
        plan: of the space and image sizes to carry over to.
        here: the device that will be timed, if it is known yet.
        unstable: whether unstable profiles are allowed.

    Raises:
        MismatchError: a profile of another space, without an image size of the plan, or of this very device.
        UnstableDeviceError: an unstable profile.
        OptionError: a profile twice.
    """
    for prior in priors:
        subject = f"profile {prior.id}"
        if prior.space.id != plan.space.id:
            raise MismatchError(
                f"is of space {prior.space.id}, not of {plan.space.id}: its layers are others",
                subject=subject,
            )
        if missing := sorted(set(plan.image_sizes) - set(prior.image_sizes)):
            raise MismatchError(
                f"image size {missing[0]} was not profiled",
                subject=subject,
                hint=f"give `image_sizes` that it holds: {', '.join(map(str, prior.image_sizes))}",
            )
        if not prior.stable and not unstable:
            raise UnstableDeviceError(
                f"is unstable ({'; '.join(prior.faults)})",
                subject=subject,
                hint="profile that device again when it is quiet, or use `allow_unstable`",
            )
        if here is not None and not prior.differences(here):
            raise MismatchError(
                "is of this device, runtime, number of threads and precision: there is nothing to carry over",
                subject=subject,
                hint="bring it up to date (`refresh`), or profile again",
            )
    if len({prior.id for prior in priors}) < len(priors):
        raise OptionError("names one profile twice", subject="like")


def plan_like(plan: ProfilePlan, priors: Sequence[Profile]) -> ProfilePlan:
    """The part of a plan that is timed to carry these profiles' tables over."""
    chosen = choose_networks(plan.rows, _tables(plan, priors), _networks(plan, plan.fit))
    return replace(plan, only=tuple(f"fit:{number}" for number in chosen))


def _networks(plan: ProfilePlan, encoded: IntArray) -> Networks:
    indices = list(plan.space.image_size_indices(plan.image_sizes))
    return Networks(
        counts=count_rows(plan.space.row_ids(encoded), plan.row_numbers),
        size_index=np.array([indices.index(i) for i in encoded[:, 0]]),
    )


def _tables(plan: ProfilePlan, priors: Sequence[Profile]) -> PriorTables:
    """The profiles' tables for the plan's rows; of imported ones, the mean over the image sizes."""
    return PriorTables(
        row_ms=np.array([[_row_ms(prior, layer.key, plan) for layer in plan.rows] for prior in priors]),
        offset_ms=np.array(
            [
                [prior.factor * prior.offset_ms[prior.image_sizes.index(size)] for size in plan.image_sizes]
                for prior in priors
            ]
        ),
    )


def _row_ms(prior: Profile, key: str, plan: ProfilePlan) -> float:
    if prior.imported is None:
        return prior.row(key, plan.image_sizes[0]).latency_ms
    held = {row.image_size: row.latency_ms for row in prior.rows if row.key == key}
    return float(np.mean([held[size] for size in plan.image_sizes if size in held]))


def carried_profile(
    plan: ProfilePlan,
    priors: Sequence[Profile],
    bursts: Timings,
    *,
    fingerprint: Fingerprint,
    settings: Settings,
    created: str,
    duration_s: float,
    conditions: Conditions | None = None,
) -> Profile:
    """The profile that a finished run of :func:`plan_like` makes of these profiles' tables.

    Every network of the run is in its validation, as predicted by the table of the others.

    Raises:
        RecordError: a unit of the plan was never timed.
        InputError: as :func:`check_priors` raises them.
    """
    check_priors(priors, plan, unstable=True)
    check_timed(plan, bursts, settings)
    bursts, slow = without_slow_ones(bursts, settings.slow_factor)
    timed, quiet_ms, local = scale_out_drift(bursts, slow)
    encoded = plan.fit[[int(unit.partition(":")[2]) for unit in plan.only]]
    measured = np.array([timed[unit].latency_ms for unit in plan.only])
    table = carry_table(
        plan.rows,
        _tables(plan, priors),
        _networks(plan, encoded),
        measured,
        doubts(timed, plan.only, settings),
    )
    return Profile(
        space=plan.space,
        image_sizes=plan.image_sizes,
        fingerprint=replace(fingerprint, graphs=plan.graph_form),
        settings=settings,
        created=created,
        duration_s=round(duration_s, 1),
        rows=tuple(
            Row(key=layer.key, latency_ms=round(float(ms), 7))
            for layer, ms in zip(plan.rows, table.row_ms, strict=True)
        ),
        offset_ms=tuple(round(float(o), 7) for o in table.offset_ms),
        sentinel_ms=round(quiet_ms, 6),
        noise=assess_noise(
            timed,
            local,
            bursts,
            [],
            slow,
            conditions=conditions or Conditions(threads=settings.threads),
            waits=processor_waits(fingerprint.provider),
        ),
        pairs=tuple(
            Pair(
                image_size=plan.space.image_sizes[int(row[0])],
                choices=tuple(int(c) for c in row),
                predicted_ms=round(max(float(predicted), 0.1 * float(ms)), 6),
                measured_ms=round(float(ms), 6),
                moments_ms=moments_ms(bursts, unit, settings.rounds, settings.passes),
            )
            for unit, row, predicted, ms in zip(plan.only, encoded, table.left_out_ms, measured, strict=True)
        ),
        carried=Carried(
            networks=len(plan.only),
            priors=tuple(
                Prior(
                    profile=prior.id,
                    sha256=prior.sha256,
                    fingerprint=prior.fingerprint,
                    share=round(float(share), 4),
                )
                for prior, share in zip(priors, table.shares, strict=True)
            ),
        ),
    )
