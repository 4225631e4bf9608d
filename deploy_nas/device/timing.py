"""Timing one model: bursts of single inferences, back to back, after a warm-up.

``latency_ms`` everywhere in deploy-nas is the lower quartile of the wall time of single runs of a model
(batch 1, warm, one model running; ``core.measured.latency_of``), collected in short bursts that are spread
over several rounds. Low quantiles are reproducible from hour to hour, unlike means; spreading the bursts
keeps one bad second from spoiling all runs of a row (docs/notes/latency.md).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.floats import usual_floats
from deploy_nas.device.runtime import Runnable

_KEPT_POINTS = 21
_MOST_RUNS = 2000

Clock = Callable[[], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Clocks:
    """Sources of time, and a way to wait; tests substitute their own.

    Args:
        wall: nanoseconds, monotonic.
        cpu: nanoseconds of processor time that this process used on all cores.
        sleep: waits for a number of seconds.
    """

    wall: Clock = time.perf_counter_ns
    cpu: Clock = time.process_time_ns
    sleep: Callable[[float], None] = time.sleep


CLOCKS = Clocks()


@dataclass(frozen=True, kw_only=True, slots=True)
class BurstSettings:
    """How one burst is taken.

    Args:
        burst_ms: approximate duration.
        least_runs: minimum number of runs.
        warmup_runs, warmup_ms: minimum of the warm-up, in runs and in time: a session's threads need a few
            milliseconds of runs until they spin.
    """

    burst_ms: float
    least_runs: int
    warmup_runs: int
    warmup_ms: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Burst:
    """One burst: its number of runs, up to 21 evenly spaced order statistics of their times, processor share.

    ``busy`` is processor time over wall time, 1.0 for one undisturbed thread.
    """

    runs: int
    points_ms: tuple[float, ...]
    busy: float


@runtime_checkable
class TimedThere(Protocol):
    """A bound run that is timed where it happens, because a message to that place takes longer than a run."""

    def burst(self, how: BurstSettings) -> Burst:
        """As :meth:`Timer.burst`."""

    def paced(self, every_ms: float, runs: int) -> NDArray[np.float64]:
        """As :meth:`Timer.paced`."""


class Timer:
    """One open model with its input, ready to be timed.

    Args:
        model: the model; its first input is float32.
        rng: draws the input.
        clocks: sources of time.
    """

    def __init__(self, model: Runnable, rng: np.random.Generator, clocks: Clocks = CLOCKS) -> None:
        self.clocks = clocks
        entry = model.inputs[0]
        self._run = model.bind({entry.name: rng.standard_normal(entry.single, dtype=np.float32)})

    # A caller who flushes denormal numbers would time another network than the one deployed.
    @usual_floats()
    def burst(self, how: BurstSettings) -> Burst:
        """Warm up, then run back to back for about ``burst_ms``, at least ``least_runs`` times."""
        if isinstance(self._run, TimedThere):
            return self._run.burst(how)
        run, clock, cpu_clock = self._run, self.clocks.wall, self.clocks.cpu
        quickest = float("inf")
        warm, entered = 0, clock()
        while warm < max(1, how.warmup_runs) or clock() - entered < how.warmup_ms * 1e6:
            begin = clock()
            run()
            quickest = min(quickest, clock() - begin)
            warm += 1
        runs = int(min(_MOST_RUNS, max(how.least_runs, how.burst_ms * 1e6 / max(quickest, 1.0))))
        times = np.empty(runs, dtype=np.int64)
        collecting = gc.isenabled()
        gc.disable()
        cpu, wall = cpu_clock(), clock()
        try:
            for i in range(runs):
                begin = clock()
                run()
                times[i] = clock() - begin
        finally:
            if collecting:
                gc.enable()
        busy = (cpu_clock() - cpu) / max(1, clock() - wall)
        kept = min(runs, _KEPT_POINTS)
        points = np.quantile(times / 1e6, np.linspace(0.0, 1.0, kept), method="nearest")
        return Burst(runs=runs, points_ms=tuple(round(float(p), 6) for p in points), busy=round(busy, 3))

    @usual_floats()
    def paced(
        self, every_ms: float, runs: int, ran: Callable[[int], None] = lambda done: None
    ) -> NDArray[np.float64]:
        """Times of single runs that begin every so many ms, float64 ``[runs]``, in ms.

        A run that takes longer than that delays the next one. ``ran`` is called after each, with how many
        there were.
        """
        if isinstance(self._run, TimedThere):
            return self._run.paced(every_ms, runs)
        run, clock = self._run, self.clocks.wall
        run()
        times = np.empty(runs, dtype=np.int64)
        due = float(clock())
        for i in range(runs):
            due = max(due + every_ms * 1e6, clock())
            if (rest_ns := due - clock()) > 0:
                self.clocks.sleep(rest_ns / 1e9)
            begin = clock()
            run()
            times[i] = clock() - begin
            ran(i + 1)
        return times / 1e6
