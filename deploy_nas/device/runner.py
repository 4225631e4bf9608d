"""Run a plan on this device: blocks of units, each unit in every round, a sentinel in between.

The sentinel is one small network timed again and again: what it takes shows how fast the device
is at that moment, whatever unit comes next (heat, a neighbour on the host).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from deploy_nas.core.errors import RecordError
from deploy_nas.device.journal import Journal
from deploy_nas.device.session import CPU_PROVIDER, open_session, random_initializers
from deploy_nas.device.timing import Clock, Timer, latency_of

SENTINEL = "sentinel"

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a plan is timed. ``rounds`` bursts a unit, each about ``burst_ms`` long.

    A unit whose middle round lies ``unstable_percent`` above its quickest gets up to ``extra_rounds`` more.
    """

    threads: int = 1
    provider: str = CPU_PROVIDER
    provider_options: Mapping[str, str] = field(default_factory=dict)
    precision: str = "fp32"
    rounds: int = 5
    extra_rounds: int = 3
    unstable_percent: float = 6.0
    burst_ms: float = 12.0
    least_runs: int = 5
    warmup_runs: int = 3
    block_units: int = 16
    seed: int = 0


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


class Runner:
    """Times a plan into a journal; already journalled bursts are not taken again."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        journal: Journal,
        *,
        progress: Progress | None = None,
        clock: Clock = time.perf_counter_ns,
        cpu_clock: Clock = time.process_time_ns,
        opener: Callable[..., Any] = open_session,
    ) -> None:
        self.plan, self.settings, self.journal = plan, settings, journal
        self.progress = progress or (lambda done, total, what: None)
        self.clock, self.cpu_clock, self.opener = clock, cpu_clock, opener
        self.rng = np.random.default_rng(settings.seed)

    def open(self, unit: Unit) -> Timer:
        """A timer of one unit in a session of its own, with random weights."""
        settings = self.settings
        session = self.opener(
            self.plan.model(unit.id),
            provider=settings.provider,
            provider_options=settings.provider_options,
            threads=settings.threads,
            initializers=random_initializers(unit.tensors, self.rng),
        )
        return Timer(session, self.rng, clock=self.clock, cpu_clock=self.cpu_clock)

    def sentinel_ms(self, timer: Timer) -> float:
        """What the sentinel takes now."""
        burst = timer.burst(burst_ms=self.settings.burst_ms / 3, least_runs=3, warmup_runs=1)
        return latency_of(burst.points_ms)

    def run(self) -> None:
        """Time everything that the journal does not hold yet."""
        settings = self.settings
        rounds = settings.rounds
        total = rounds * sum(len(b) for b in self.plan.blocks)
        planned = {u.id for b in self.plan.blocks for u in b}
        if stray := next((u for u, _ in self.journal.bursts if u not in planned), None):
            raise RecordError(
                f"holds a unit that is not in the plan: {stray}", subject=str(self.journal.path)
            )
        done = len(self.journal.bursts)
        sentinel = self.open(self.plan.sentinel)
        for _ in range(3):
            self.sentinel_ms(sentinel)
        for block in self.plan.blocks:
            missing = [(r, u) for r in range(rounds) for u in block if (u.id, r) not in self.journal.bursts]
            if not missing:
                continue
            self.progress(done, total, block[0].kind)
            timers = {u.id: self.open(u) for u in {u.id: u for _, u in missing}.values()}
            for number in range(rounds + settings.extra_rounds):
                turn = (
                    [u for r, u in missing if r == number]
                    if number < rounds
                    else self.unstable(block, timers)
                )
                total += len(turn) if number >= rounds else 0
                for index in self.rng.permutation(len(turn)):
                    unit = turn[int(index)]
                    now = self.sentinel_ms(sentinel)
                    burst = timers[unit.id].burst(
                        burst_ms=settings.burst_ms,
                        least_runs=settings.least_runs,
                        warmup_runs=settings.warmup_runs,
                    )
                    self.journal.add(unit.id, number, burst, now)
                    done += 1
                    self.progress(done, total, unit.kind)

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
