"""Makes a profile from a finished journal: scales out drift, fits and validates the table, assesses noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import RecordError
from deploy_nas.core.fingerprint import Fingerprint, processor_waits
from deploy_nas.core.measured import latency_of
from deploy_nas.core.settings import Settings
from deploy_nas.core.space import FloatArray
from deploy_nas.device.measure import QUIET_QUANTILE, busy_share
from deploy_nas.device.runner import SAME, Key, Timings, differences_percent, quiet_core_us, without_slow_ones
from deploy_nas.device.timing import Burst
from deploy_nas.profiling.fit import count_rows, fit_table
from deploy_nas.profiling.plan import AA_UNITS, ProfilePlan
from deploy_nas.records.profile import Profile
from deploy_nas.records.profile_parts import Noise, Pair, Row

UNSTABLE_SPREAD_PERCENT = 10.0
_WINDOW = 20
_TRUST = 0.75
_MOST_DOUBT, _SLOW_DOUBT = 6.0, 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """All runs of one unit, scaled to the device's quiet speed; undisturbed ones took ``quiet_ms`` in all."""

    points_ms: FloatArray
    round_ms: FloatArray
    runs: int
    quiet_ms: float

    @property
    def latency_ms(self) -> float:
        """The latency over all rounds, ms."""
        return latency_of(self.points_ms)

    def doubt(self, asked_ms: float) -> float:
        """How much noisier this is than if at least half of ``asked_ms`` had been undisturbed, from 1."""
        if self.quiet_ms <= 0.0:
            return _SLOW_DOUBT
        return float(np.clip(np.sqrt(0.5 * asked_ms / self.quiet_ms), 1.0, _MOST_DOUBT))

    @property
    def spread_percent(self) -> float:
        """How far the median round lies above the fastest, percent: one bad round does not count, half do."""
        return 100.0 * float(np.median(self.round_ms) / np.min(self.round_ms) - 1.0)


def local_sentinel(sentinel_ms: FloatArray, slow: NDArray[np.bool_]) -> FloatArray:
    """A low quantile of the sentinel's times around each burst, float64 ``[n]``.

    It covers many bursts, because a single reading is as noisy as the time it corrects. It is a low quantile,
    because too little scaling is better than too much where the speed changes: the latency statistic ignores
    times that stay too long, but would pick those that become too short. Moments known to be ``slow``, bool
    ``[n]``, keep their own time.
    """
    if slow.all():
        return sentinel_ms
    padded = np.pad(sentinel_ms[~slow], _WINDOW, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _WINDOW + 1)
    result = sentinel_ms.copy()
    result[~slow] = np.quantile(windows, QUIET_QUANTILE, axis=1)
    return result


def scale_out_drift(bursts: Timings, slow: Collection[Key]) -> tuple[dict[str, Timed], float, FloatArray]:
    """Units' times at the device's quiet speed, that speed (the sentinel's ms), and the local speeds.

    Each burst is scaled by the ratio of the quiet sentinel (its latency over the run) to the sentinel around
    the burst, raised to a power below 1: the sentinel is itself noisy, and not every network is slowed as
    much. The reference is the quiet sentinel, not the typical one, because disturbances only slow a device.
    """
    slowed = np.array([key in slow for key in bursts])
    local = local_sentinel(np.array([s for _, s in bursts.values()]), slowed)
    quiet = latency_of(local if slowed.all() else local[~slowed])
    points: dict[str, list[FloatArray]] = {}
    runs: dict[str, int] = {}
    quiet_ms: dict[str, float] = {}
    for ((unit, _), (burst, _)), now, lost in zip(bursts.items(), local, slowed, strict=True):
        points.setdefault(unit, []).append(np.array(burst.points_ms) * (quiet / now) ** _TRUST)
        runs[unit] = runs.get(unit, 0) + burst.runs
        counted_ms = 0.0 if lost else burst.runs * float(np.median(burst.points_ms))
        quiet_ms[unit] = quiet_ms.get(unit, 0.0) + counted_ms
    timed = {
        unit: Timed(
            points_ms=np.concatenate(rounds),
            round_ms=np.array([latency_of(r) for r in rounds]),
            runs=runs[unit],
            quiet_ms=quiet_ms[unit],
        )
        for unit, rounds in points.items()
    }
    return timed, quiet, local


def moments_ms(bursts: Timings, unit: str, rounds: int, passes: int) -> tuple[float, ...]:
    """A unit's latency in the first and in the second half of the run, with the drift left in.

    Halves and not passes: a pass has only two short bursts, whose noise would widen the bound. So would that
    of a half of which slow moments left half the bursts or less: it is left out, and where both halves are
    like that, all bursts make one moment.
    """
    halves: dict[int, list[Burst]] = {}
    last = min(passes, rounds) - 1
    for (name, number), (burst, _) in bursts.items():
        if name == unit:
            # Extra rounds are timed in the last pass.
            at = number % passes if number < rounds else last
            halves.setdefault(2 * at // (last + 1), []).append(burst)
    whole = [found for _, found in sorted(halves.items()) if len(found) > rounds / 4]
    moments = whole or [[burst for found in halves.values() for burst in found]]
    return tuple(round(latency_of([ms for burst in found for ms in burst.points_ms]), 6) for found in moments)


def assess_noise(
    timed: Mapping[str, Timed],
    local: FloatArray,
    bursts: Timings,
    rows: list[Row],
    slow: Collection[Key],
    *,
    conditions: Conditions,
    waits: bool = False,
) -> Noise:
    """How steady the machine was during the run; each fault is a sentence with its figure.

    Args:
        timed, local, bursts, rows: of the run.
        slow: those of the bursts that were taken in slow moments: of units without any other.
        conditions: threads, cores and quota of the run.
        waits: the provider works on another device while the processor waits.
    """
    resolution = differences_percent([timed[f"{SAME}:{i}"].latency_ms for i in range(AA_UNITS)])
    steady = local[[key not in slow for key in bursts]]
    drift = 100.0 * float(np.quantile(steady, 0.95) / np.quantile(steady, 0.05) - 1.0) if len(steady) else 0.0
    busy = busy_share([b.busy for b, _ in bursts.values()], conditions.threads)
    unstable = sum(not r.stable for r in rows)
    faults = [*replace(conditions, busy=None if waits else busy).faults]
    if resolution > 6.0:
        faults.append(f"two timings of one and the same model differ by up to {resolution:.1f}%")
    if drift > 20.0:
        faults.append(f"the device's speed changed by {drift:.0f}% during the run")
    only = max(_shares(bursts, slow).values(), default=0.0)
    if only > 0.1:
        faults.append(f"{100 * only:.0f}% of the layers or networks were timed in slow moments only")
    if unstable > 0.25 * len(rows):
        faults.append(
            f"{unstable} of {len(rows)} layers did not repeat within {UNSTABLE_SPREAD_PERCENT:.0f}%"
        )
    return Noise(
        resolution_percent=round(resolution, 2),
        drift_percent=round(drift, 2),
        busy=round(busy, 3),
        unstable_rows=unstable,
        faults=tuple(faults),
        cores=conditions.cores,
        quota_cores=conditions.quota_cores,
        clock_ms=conditions.clock_ms,
        core_us=quiet_core_us(bursts),
    )


def doubts(timed: Mapping[str, Timed], units: Sequence[str], settings: Settings) -> FloatArray:
    """The doubt about each unit's latency (:meth:`Timed.doubt`), float64 ``[units]``."""
    return np.array([timed[unit].doubt(settings.rounds * settings.burst_ms) for unit in units])


def _shares(bursts: Timings, slow: Collection[Key]) -> dict[str, float]:
    """Share of the units whose bursts here are all slow, of layers, of networks fitted to and of others."""
    kinds = {unit: unit.partition(":")[0] for unit, _ in bursts if not unit.startswith(SAME)}
    of = Counter(kinds.values())
    slow_of = Counter(kinds[unit] for unit in {unit for unit, _ in slow} & kinds.keys())
    return {kind: slow_of[kind] / count for kind, count in of.items()}


def check_timed(plan: ProfilePlan, bursts: Timings, settings: Settings) -> None:
    """Raise :class:`RecordError` naming a unit of the plan that was never timed."""
    begun = {unit for unit, number in bursts if number < settings.rounds}
    for block in plan.blocks:
        for unit in block:
            if unit.id not in begun:
                raise RecordError(
                    "was never timed", subject=unit.id, hint="run the profile again: it goes on"
                )


def make_profile(
    plan: ProfilePlan,
    bursts: Timings,
    *,
    fingerprint: Fingerprint,
    settings: Settings,
    created: str,
    duration_s: float,
    conditions: Conditions | None = None,
) -> Profile:
    """The profile of a finished run; ``conditions`` has its cores and quota, if they are known.

    Raises:
        RecordError: a unit of the plan was never timed.
    """
    check_timed(plan, bursts, settings)
    bursts, slow = without_slow_ones(bursts, settings.slow_factor)
    timed, quiet_ms, local = scale_out_drift(bursts, slow)
    layers = plan.rows
    alone = {layer.key: timed[f"row:{layer.key}"] for layer in layers}
    indices = list(plan.space.image_size_indices(plan.image_sizes))
    size_index = np.array([indices.index(i) for i in plan.fit[:, 0]])
    measured = np.array([timed[f"fit:{i}"].latency_ms for i in range(len(plan.fit))])
    table = fit_table(
        layers,
        np.array([t.latency_ms for t in alone.values()]),
        count_rows(plan.space.row_ids(plan.fit), plan.row_numbers),
        size_index,
        len(plan.image_sizes),
        measured,
        doubts(timed, [f"fit:{i}" for i in range(len(plan.fit))], settings),
    )
    rows = [
        Row(
            key=layer.key,
            latency_ms=round(float(ms), 7),
            alone_ms=round(t.latency_ms, 6),
            p50_ms=round(float(np.quantile(t.points_ms, 0.5)), 6),
            p90_ms=round(float(np.quantile(t.points_ms, 0.9)), 6),
            p99_ms=round(float(np.quantile(t.points_ms, 0.99)), 6),
            spread_percent=round(t.spread_percent, 2),
            runs=t.runs,
            stable=t.spread_percent <= UNSTABLE_SPREAD_PERCENT,
        )
        for (layer, ms), t in zip(zip(layers, table.row_ms, strict=True), alone.values(), strict=True)
    ]
    unvalidated = Profile(
        space=plan.space,
        image_sizes=plan.image_sizes,
        fingerprint=replace(fingerprint, graphs=plan.graph_form),
        settings=settings,
        created=created,
        duration_s=round(duration_s, 1),
        rows=tuple(rows),
        offset_ms=tuple(round(float(o), 7) for o in table.offset_ms),
        sentinel_ms=round(quiet_ms, 6),
        noise=assess_noise(
            timed,
            local,
            bursts,
            rows,
            slow,
            conditions=conditions or Conditions(threads=settings.threads),
            waits=processor_waits(fingerprint.provider),
        ),
        pairs=(),
    )
    held_out = [i for i in range(len(plan.validation)) if timed[f"validation:{i}"].quiet_ms > 0.0]
    held_out = held_out or list(range(len(plan.validation)))  # all in slow moments, as the faults say
    if not held_out:
        return unvalidated
    predicted = unvalidated.latency_ms(plan.validation[held_out])
    pairs = tuple(
        Pair(
            image_size=plan.space.image_sizes[int(plan.validation[i, 0])],
            choices=tuple(int(c) for c in plan.validation[i]),
            predicted_ms=round(float(ms), 6),
            measured_ms=round(timed[f"validation:{i}"].latency_ms, 6),
            moments_ms=moments_ms(bursts, f"validation:{i}", settings.rounds, settings.passes),
        )
        for i, ms in zip(held_out, predicted, strict=True)
    )
    return replace(unvalidated, pairs=pairs)
