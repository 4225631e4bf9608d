"""Runs a plan on this device: blocks of units, every unit in each round, a sentinel in between."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import JsonObject
from deploy_nas.core.fingerprint import processor_waits
from deploy_nas.core.measured import latency_of
from deploy_nas.core.settings import Settings
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.device.clocks import CLOCKS, Clocks
from deploy_nas.device.core_speed import CoreSpeed, quiet_us, slow_above_us
from deploy_nas.device.initializers import random_initializers
from deploy_nas.device.journal import Journal
from deploy_nas.device.measure import QUIET_QUANTILE, WAITING, Progress, Watch, one_round, reads_core
from deploy_nas.device.runtime import Kept, Runtime
from deploy_nas.device.session import ONNX_RUNTIME
from deploy_nas.device.timing import Burst, BurstSettings, Timer

Key = tuple[str, int]
Timings = Mapping[Key, tuple[Burst, float]]
"""Bursts and the sentinel's latency beside each in ms, by unit and round."""

SENTINEL = "sentinel"
ROW = "row"
SAME = "aa"


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One model to time: its id in the journal, its kind, and its tensors without values."""

    id: str
    kind: str
    tensors: Mapping[str, TensorSpec]

    def to_json(self) -> JsonObject:
        """The object in kits."""
        tensors = {name: spec.to_json() for name, spec in self.tensors.items()}
        return {"id": self.id, "kind": self.kind, "tensors": tensors}


class Plan(Protocol):
    """Units to time. ``model(unit_id)`` returns the serialised ONNX graph, its weights without values."""

    @property
    def id(self) -> str:
        """Identifies everything that is timed."""

    @property
    def sentinel(self) -> Unit:
        """The unit that is timed again and again."""

    @property
    def blocks(self) -> Sequence[Sequence[Unit]]:
        """Groups of units whose sessions are open at the same time."""

    def model(self, unit_id: str) -> bytes:
        """The graph of one unit."""


def sentinel_limit_ms(bursts: Timings, slow_factor: float) -> float:
    """The device is slow where the sentinel takes longer than this."""
    return slow_factor * float(np.quantile([beside for _, beside in bursts.values()], QUIET_QUANTILE))


def _readings_us(bursts: Timings) -> list[float]:
    """The readings of the core beside bursts, microseconds, where it was read."""
    return [burst.core_us for burst, _ in bursts.values() if burst.core_us is not None]


def quiet_core_us(bursts: Timings) -> float | None:
    """The reading of the undisturbed core in a run, microseconds; ``None`` where it was not read."""
    found = quiet_us(_readings_us(bursts))
    return round(found, 3) if found else None


def slow_ones(bursts: Timings, limit_ms: float) -> set[Key]:
    """Bursts of slow moments: of the sentinel beside them, above ``limit_ms``, or of the core."""
    limit_us = slow_above_us(_readings_us(bursts))
    return {
        key
        for key, (burst, beside) in bursts.items()
        if beside > limit_ms or (burst.core_us or 0.0) > limit_us
    }


def to_take_again(bursts: Timings, limit_ms: float) -> set[Key]:
    """Bursts of slow moments, of units that have few others."""
    slow = slow_ones(bursts, limit_ms)
    slow_of = Counter(unit for unit, _ in slow)
    all_of = Counter(unit for unit, _ in bursts)
    return {(unit, number) for unit, number in slow if slow_of[unit] > all_of[unit] / 2}


def without_slow_ones(bursts: Timings, slow_factor: float) -> tuple[Timings, set[Key]]:
    """Bursts outside slow moments and all those of units without such; the latter ones' keys.

    A moment is slow if the sentinel takes more than ``slow_factor`` times its quiet time, or if the core is
    slow by a reading of its own (``device.core_speed``).
    """
    slow = slow_ones(bursts, sentinel_limit_ms(bursts, slow_factor))
    steady = {unit for unit, number in bursts if (unit, number) not in slow}
    kept = {key: held for key, held in bursts.items() if key not in slow or key[0] not in steady}
    return kept, slow & kept.keys()


def differences_percent(latencies_ms: Sequence[float]) -> float:
    """A/A test: 95th percentile of the differences between timings of the same model, percent."""
    pairs = itertools.combinations(latencies_ms, 2)
    return 100.0 * float(np.quantile([abs(a / b - 1.0) for a, b in pairs], 0.95))


class Runner:
    """Times a plan into a journal; bursts that the journal already holds are skipped.

    Args:
        plan: the units to time.
        settings: how to time them.
        journal: keeps every burst.
        progress: called with the bursts done, the bursts in total and the kind of unit.
        say: called with the result of the A/A test, before the rest is timed.
        worker_cores: cores for the models' threads other than this one.
        clocks: sources of time.
        runtime: runs the units.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        journal: Journal,
        *,
        progress: Progress | None = None,
        say: Callable[[str], None] | None = None,
        worker_cores: Sequence[int] = (),
        clocks: Clocks = CLOCKS,
        runtime: Runtime = ONNX_RUNTIME,
    ) -> None:
        self.plan, self.settings, self.journal = plan, settings, journal
        self.progress = progress or (lambda done, total, what: None)
        self.say = say or (lambda line: None)
        self.worker_cores = worker_cores
        self.clocks, self.runtime = clocks, runtime
        self.rng = np.random.default_rng(settings.seed)
        self._core: CoreSpeed | None = None
        if reads_core(settings.threads, waits=processor_waits(settings.provider)):
            self._core = CoreSpeed(
                clocks,
                readings_us=_readings_us(journal.bursts),
                wait_s=settings.wait_s,
                waiting=lambda: self.progress(self._done, self._total, WAITING),
            )
        self._kept: Kept | None = {} if settings.passes > 1 else None
        self._done = self._total = 0

    def open(self, unit: Unit) -> Timer:
        """A timer for one unit, in its own session with random weights."""
        settings = self.settings
        model = self.runtime.open(
            self.plan.model(unit.id),
            provider=settings.provider,
            provider_options=settings.provider_options,
            threads=settings.threads,
            worker_cores=self.worker_cores,
            initializers=random_initializers(unit.tensors, self._rng_of(unit)),
            kept=self._kept,
        )
        return Timer(model, self.rng, self.clocks, self._core)

    def _rng_of(self, unit: Unit) -> np.random.Generator:
        """Draws the same weights each time a unit is opened, so that it is the same model."""
        return np.random.default_rng([self.settings.seed, *hashlib.sha256(unit.id.encode()).digest()[:8]])

    def watch(self) -> Watch:
        """The watch over the sentinel, with the readings that the journal holds."""
        settings = self.settings
        return Watch(
            self.open(self.plan.sentinel),
            burst=BurstSettings(
                burst_ms=settings.sentinel_burst_ms, least_runs=3, warmup_runs=1, warmup_ms=settings.warmup_ms
            ),
            readings=[beside for _, beside in self.journal.bursts.values()],
            every_ms=settings.sentinel_every_ms,
            slow_factor=settings.slow_factor,
            wait_s=settings.wait_s,
        )

    def rounds_of(self, block: Sequence[Unit]) -> int:
        """Rounds of a block, whose units are all of one kind."""
        return self.settings.row_rounds if block[0].kind == ROW else self.settings.rounds

    def run(self, *, takes_again: bool = True) -> None:
        """Time everything that the journal lacks, and again what was mostly timed in slow moments.

        Raises:
            RecordError: the journal holds a unit that is not in the plan.
        """
        blocks = self.plan.blocks
        planned = {u.id for b in blocks for u in b}
        if stray := next((u for u, _ in self.journal.bursts if u not in planned), None):
            raise RecordError(
                f"holds a unit that is not in the plan: {stray}",
                subject=str(self.journal.path),
                hint="finish the run that it is of, or start over with `fresh`",
            )
        self._total = sum(self.rounds_of(b) * len(b) for b in blocks)
        self._done = len(self.journal.bursts)
        watch = self.watch()
        passes = self.settings.passes
        for number_of_pass, block in ((p, b) for p in range(passes) for b in blocks):
            rounds = self.rounds_of(block)
            numbers = range(number_of_pass, rounds, passes)
            turns = [[u for u in block if (u.id, r) not in self.journal.bursts] for r in numbers]
            if not any(turns):
                continue
            timers = self._open_all([u for turn in turns for u in turn])
            for number, turn in zip(numbers, turns, strict=True):
                self._turn(turn, number, timers, watch)
            if number_of_pass == 0 and block[0].kind == SAME:
                noise = self.resolution_percent(block)
                self.say(f"A/A test: differences below {noise:.1f}% are noise on this device")
            if number_of_pass == min(passes, rounds) - 1:
                for number in range(rounds, rounds + self.settings.extra_rounds):
                    turn = self.unstable(block, timers)
                    self._total += len(turn)
                    self._turn(turn, number, timers, watch)
        if takes_again:
            self._time_slow_ones_again(watch)

    def resolution_percent(self, same: Sequence[Unit]) -> float:
        """How far the timings of the same model differ so far, percent."""
        points: dict[str, list[float]] = {unit.id: [] for unit in same}
        for (unit, _), (burst, _) in self._steady_bursts().items():
            if unit in points:
                points[unit].extend(burst.points_ms)
        return differences_percent([latency_of(p) for p in points.values()])

    def _steady_bursts(self) -> Timings:
        return without_slow_ones(self.journal.bursts, self.settings.slow_factor)[0]

    def _open_all(self, units: Sequence[Unit]) -> dict[str, Timer]:
        return {u.id: self.open(u) for u in {u.id: u for u in units}.values()}

    def _time_slow_ones_again(self, watch: Watch) -> None:
        """Repeat, once, the slow bursts of units that have few others."""
        slow = to_take_again(self.journal.bursts, watch.limit_ms)
        self._total += len(slow)
        for block in self.plan.blocks:
            again = [(u, number) for u in block for unit, number in sorted(slow) if unit == u.id]
            timers = self._open_all([u for u, _ in again])
            for unit, number in again:
                self._turn([unit], number, timers, watch)

    def _turn(self, turn: Sequence[Unit], number: int, timers: Mapping[str, Timer], watch: Watch) -> None:
        """One burst of each unit, in random order."""
        if not turn:
            return
        self.progress(self._done, self._total, turn[0].kind)
        for taken in one_round([timers[u.id] for u in turn], self._burst(turn[0]), self.rng, watch):
            unit = turn[taken.index]
            self.journal.add(unit.id, number, taken.burst, taken.sentinel_ms or watch.readings[-1])
            self._done += 1
            self.progress(self._done, self._total, unit.kind)

    def _burst(self, unit: Unit) -> BurstSettings:
        settings = self.settings
        return BurstSettings(
            burst_ms=settings.row_burst_ms if unit.kind == ROW else settings.burst_ms,
            least_runs=settings.least_runs,
            warmup_runs=settings.warmup_runs,
            warmup_ms=settings.warmup_ms,
        )

    def unstable(self, block: Sequence[Unit], timers: Mapping[str, Timer]) -> list[Unit]:
        """Units of a block, among those just timed, whose rounds do not agree yet."""
        found = []
        steady = self._steady_bursts()
        for unit in block:
            times = [latency_of(b.points_ms) for (u, _), (b, _) in steady.items() if u == unit.id]
            if unit.id in timers and np.median(times) > min(times) * (
                1 + self.settings.unstable_percent / 100
            ):
                found.append(unit)
        return found
