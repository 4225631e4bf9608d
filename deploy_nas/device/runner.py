"""Run a plan on this device: blocks of units, each unit in every round, a sentinel in between.

The sentinel is one small network timed again and again: what it takes shows how fast the device
is at that moment, whatever unit comes next (heat, a neighbour on the host).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from deploy_nas.core.errors import RecordError
from deploy_nas.core.settings import Settings
from deploy_nas.device.journal import Journal
from deploy_nas.device.session import open_session, random_initializers
from deploy_nas.device.timing import Burst, Clock, Timer, latency_of

SENTINEL = "sentinel"
ROW = "row"
SAME = "aa"
QUIET_QUANTILE = 0.2

_PAUSE_S = 0.25
_MOST_SLOW = 0.7

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One model to time: its id in the journal and the tensors it only names."""

    id: str
    kind: str
    tensors: Mapping[str, tuple[int, ...]]


class Plan(Protocol):
    """What to time. ``model(unit_id)`` gives the serialised ONNX graph, weights named only."""

    @property
    def id(self) -> str:
        """Of all that is timed."""

    @property
    def sentinel(self) -> Unit:
        """The unit timed again and again."""

    @property
    def blocks(self) -> Sequence[Sequence[Unit]]:
        """Units whose sessions are open at once."""

    def model(self, unit_id: str) -> bytes:
        """The graph of one unit."""


def differences_percent(latencies_ms: Sequence[float]) -> float:
    """A/A test: 95th percentile of the differences between timings of one and the same model, percent."""
    pairs = itertools.combinations(latencies_ms, 2)
    return 100.0 * float(np.quantile([abs(a / b - 1.0) for a, b in pairs], 0.95))


class Runner:
    """Times a plan into a journal; already journalled bursts are not taken again."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        journal: Journal,
        *,
        progress: Progress | None = None,
        say: Callable[[str], None] | None = None,
        worker_cores: Sequence[int] = (),
        clock: Clock = time.perf_counter_ns,
        cpu_clock: Clock = time.process_time_ns,
        sleep: Callable[[float], None] = time.sleep,
        opener: Callable[..., Any] = open_session,
    ) -> None:
        self.plan, self.settings, self.journal = plan, settings, journal
        self.progress = progress or (lambda done, total, what: None)
        self.say = say or (lambda line: None)
        self.worker_cores = worker_cores
        self.clock, self.cpu_clock, self.opener = clock, cpu_clock, opener
        self.rng = np.random.default_rng(settings.seed)
        self.sleep = sleep
        self._sentinel: tuple[int, float] | None = None
        self._readings = [beside for _, beside in journal.bursts.values()]
        self._waited_s = 0.0

    def open(self, unit: Unit) -> Timer:
        """A timer of one unit in a session of its own, with random weights."""
        settings = self.settings
        session = self.opener(
            self.plan.model(unit.id),
            provider=settings.provider,
            provider_options=settings.provider_options,
            threads=settings.threads,
            worker_cores=self.worker_cores,
            initializers=random_initializers(unit.tensors, self.rng),
        )
        return Timer(session, self.rng, clock=self.clock, cpu_clock=self.cpu_clock)

    def sentinel_ms(self, timer: Timer) -> float:
        """What the sentinel takes now, or took a moment ago; waits for a slow stretch to end."""
        settings = self.settings
        if self._sentinel is None or self.clock() - self._sentinel[0] > settings.sentinel_every_ms * 1e6:
            reading = self._read(timer)
            while reading > settings.slow_factor * self.quiet_ms and self._waited_s < settings.wait_s:
                self.sleep(_PAUSE_S)
                self._waited_s += _PAUSE_S
                reading = self._read(timer)
            self._sentinel = (self.clock(), reading)
        return self._sentinel[1]

    def _read(self, timer: Timer) -> float:
        settings = self.settings
        burst = timer.burst(
            burst_ms=settings.sentinel_burst_ms, least_runs=3, warmup_runs=1, warmup_ms=settings.warmup_ms
        )
        self._readings.append(latency_of(burst.points_ms))
        return self._readings[-1]

    @property
    def quiet_ms(self) -> float:
        """The sentinel at the device's quiet speed, as far as this run has seen it."""
        return float(np.quantile(self._readings, QUIET_QUANTILE))

    def slow(self) -> set[tuple[str, int]]:
        """Bursts taken while the device was slow, as is only known once it was seen quick."""
        limit = self.settings.slow_factor * self.quiet_ms
        return {key for key, (_, beside) in self.journal.bursts.items() if beside > limit}

    def rounds_of(self, block: Sequence[Unit]) -> int:
        """Rounds of a block; a block holds units of one kind of work."""
        return self.settings.row_rounds if block[0].kind == ROW else self.settings.rounds

    def run(self) -> None:
        """Time everything that the journal does not hold yet."""
        blocks = self.plan.blocks
        total = sum(self.rounds_of(b) * len(b) for b in blocks)
        planned = {u.id for b in blocks for u in b}
        if stray := next((u for u, _ in self.journal.bursts if u not in planned), None):
            raise RecordError(
                f"holds a unit that is not in the plan: {stray}", subject=str(self.journal.path)
            )
        done = len(self.journal.bursts)
        sentinel = self.open(self.plan.sentinel)
        passes = self.settings.passes
        for number_of_pass, block in ((p, b) for p in range(passes) for b in blocks):
            rounds = self.rounds_of(block)
            turns = [
                [u for u in block if (u.id, r) not in self.journal.bursts]
                for r in range(number_of_pass, rounds, passes)
            ]
            numbers = list(range(number_of_pass, rounds, passes))
            if not any(turns):
                continue
            timers = {u.id: self.open(u) for u in {u.id: u for turn in turns for u in turn}.values()}
            for number, turn in zip(numbers, turns, strict=True):
                done = self._turn(turn, number, timers, sentinel, done, total)
            if number_of_pass == 0 and block[0].kind == SAME:
                self.say(
                    f"A/A test: differences under {self.resolution_percent(block):.1f}% are noise here now"
                )
            if number_of_pass == min(passes, rounds) - 1:
                for number in range(rounds, rounds + self.settings.extra_rounds):
                    turn = self.unstable(block, timers)
                    total += len(turn)
                    done = self._turn(turn, number, timers, sentinel, done, total)
        self._time_slow_ones_again(sentinel, done, total)

    def resolution_percent(self, same: Sequence[Unit]) -> float:
        """What units that are one and the same model differ by so far."""
        points: dict[str, list[float]] = {unit.id: [] for unit in same}
        for (unit, _), (burst, _) in self.journal.bursts.items():
            if unit in points:
                points[unit].extend(burst.points_ms)
        return differences_percent([latency_of(p) for p in points.values()])

    def _time_slow_ones_again(self, sentinel: Timer, done: int, total: int) -> None:
        """Once: what was timed in a slow stretch that had not been known for one."""
        slow = self.slow()
        if len(slow) > _MOST_SLOW * len(self.journal.bursts):
            return
        total += len(slow)
        for block in self.plan.blocks:
            again = [(u, number) for u in block for unit, number in sorted(slow) if unit == u.id]
            timers = {u.id: self.open(u) for u in {u.id: u for u, _ in again}.values()}
            for unit, number in again:
                done = self._turn([unit], number, timers, sentinel, done, total)

    def _turn(
        self,
        turn: Sequence[Unit],
        number: int,
        timers: Mapping[str, Timer],
        sentinel: Timer,
        done: int,
        total: int,
    ) -> int:
        """One burst of each unit, in random order; returns how many bursts are done."""
        for index in self.rng.permutation(len(turn)):
            unit = turn[int(index)]
            self.progress(done, total, unit.kind)
            beside = self.sentinel_ms(sentinel)
            self.journal.add(unit.id, number, self.burst(unit, timers[unit.id]), beside)
            done += 1
            self.progress(done, total, unit.kind)
        return done

    def burst(self, unit: Unit, timer: Timer) -> Burst:
        """One burst of one unit."""
        settings = self.settings
        return timer.burst(
            burst_ms=settings.row_burst_ms if unit.kind == ROW else settings.burst_ms,
            least_runs=settings.least_runs,
            warmup_runs=settings.warmup_runs,
            warmup_ms=settings.warmup_ms,
        )

    def unstable(self, block: Sequence[Unit], timers: Mapping[str, Timer]) -> list[Unit]:
        """Units of a block, of those just timed, whose rounds do not agree yet."""
        found = []
        for unit in block:
            times = [
                latency_of(b.points_ms) for (u, _), (b, _) in self.journal.bursts.items() if u == unit.id
            ]
            if unit.id in timers and np.median(times) > min(times) * (
                1 + self.settings.unstable_percent / 100
            ):
                found.append(unit)
        return found
