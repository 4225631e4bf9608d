"""Timing one model: bursts of single inferences, back to back, after a warm-up.

``latency_ms`` everywhere in deploy-nas is the lower quartile of the wall time of single runs of a model
(batch 1, warm, one model running; ``core.measured.latency_of``), collected in short bursts that are spread
over several rounds. Low quantiles are reproducible from hour to hour, unlike means; spreading the bursts
keeps one bad second from spoiling all runs of a row (docs/notes/latency.md).
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.floats import usual_floats
from deploy_nas.device.clocks import CLOCKS, Clocks
from deploy_nas.device.core_speed import CoreSpeed
from deploy_nas.device.runtime import Runnable

_KEPT_POINTS = 21
_MOST_RUNS = 2000
_GROUP_NS = 4e5  # ten times what a reading of the core takes
_COLD_NS = 1e6
_LONG_NS = 2e7  # what happens within longer runs, readings before and after them do not tell
_LEAST_SHARE = 1 / 3  # the few runs of a short quiet moment take up to a fifth too long


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

    ``busy`` is processor time over wall time, 1.0 for one undisturbed thread. ``core_us`` is the typical
    reading of the core's speed beside these runs (``device.core_speed``), microseconds; ``None``: not read.
    """

    runs: int
    points_ms: tuple[float, ...]
    busy: float
    core_us: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Runs back to back; ``core_us`` is the slower one of the readings before and after them."""

    times_ns: list[int]
    cpu_ns: int
    wall_ns: int
    core_us: float = 0.0
    slow: bool = False


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
        core: tells the moments in which this core is slow; ``None``: all runs count.
    """

    def __init__(
        self,
        model: Runnable,
        rng: np.random.Generator,
        clocks: Clocks = CLOCKS,
        core: CoreSpeed | None = None,
    ) -> None:
        self.clocks, self._core = clocks, core
        entry = model.inputs[0]
        self._run = model.bind({entry.name: rng.standard_normal(entry.single, dtype=np.float32)})

    # A caller who flushes denormal numbers would time another network than the one deployed.
    @usual_floats()
    def burst(self, how: BurstSettings) -> Burst:
        """Warm up, then run back to back for about ``burst_ms``, at least ``least_runs`` times.

        Runs beside a slow reading of the core are taken again while time is left for that. If too few remain,
        the burst is of all of them.
        """
        if isinstance(self._run, TimedThere):
            return self._run.burst(how)
        run, clock = self._run, self.clocks.wall
        quickest = float("inf")
        warm, entered = 0, clock()
        while warm < max(1, how.warmup_runs) or clock() - entered < how.warmup_ms * 1e6:
            begin = clock()
            run()
            quickest = min(quickest, clock() - begin)
            warm += 1
        runs = int(min(_MOST_RUNS, max(how.least_runs, how.burst_ms * 1e6 / max(quickest, 1.0))))
        least = min(how.least_runs, runs)
        core = None if quickest > _LONG_NS else self._core
        collecting = gc.isenabled()
        gc.disable()
        try:
            groups = [self._group(runs)] if core is None else self._groups(runs, least, core)
        finally:
            if collecting:
                gc.enable()
        quiet = [group for group in groups if not group.slow]
        if sum(len(group.times_ns) for group in quiet) < max(least, _LEAST_SHARE * runs):
            quiet = groups
        times = np.concatenate([group.times_ns for group in quiet])
        busy = sum(group.cpu_ns for group in quiet) / max(1, sum(group.wall_ns for group in quiet))
        kept = min(len(times), _KEPT_POINTS)
        points = np.quantile(times / 1e6, np.linspace(0.0, 1.0, kept), method="nearest")
        return Burst(
            runs=len(times),
            points_ms=tuple(round(float(p), 6) for p in points),
            busy=round(busy, 3),
            core_us=None if core is None else round(float(np.median([group.core_us for group in quiet])), 3),
        )

    def on_slow_core(self, burst: Burst) -> bool:
        """Whether a burst is of runs that were taken while the core was slow, for want of better ones."""
        return self._core is not None and burst.core_us is not None and self._core.slow(burst.core_us)

    def _groups(self, runs: int, least: int, core: CoreSpeed) -> list[_Group]:
        """Groups of runs between readings of the core, until as many as asked count.

        On a core that stays slow, until ``least`` were taken.
        """
        groups: list[_Group] = []
        taken = counted = 0
        before = core.read()
        while counted < runs and (taken < least or core.may_wait or not core.slow(before)):
            if core.slow(before) and core.may_wait:
                core.wait(before)
                cold = self._group(runs, _COLD_NS)  # the other work has had the caches
                core.spent(cold.wall_ns / 1e9, counts=False)
                before = core.read()
                continue
            found = self._group(runs - counted, _GROUP_NS)
            after = core.read()
            beside = max(before, after)
            found = replace(found, core_us=beside, slow=core.slow(beside))
            core.spent(found.wall_ns / 1e9, counts=not found.slow)
            groups.append(found)
            taken += len(found.times_ns)
            counted += 0 if found.slow else len(found.times_ns)
            before = after
        return groups

    def _group(self, most: int, lasting_ns: float = float("inf")) -> _Group:
        """Up to ``most`` runs back to back, none after ``lasting_ns``."""
        run, clock, cpu_clock = self._run, self.clocks.wall, self.clocks.cpu
        times: list[int] = []
        cpu, wall = cpu_clock(), clock()
        while len(times) < most and clock() - wall < lasting_ns:
            begin = clock()
            run()
            times.append(clock() - begin)
        return _Group(times_ns=times, cpu_ns=cpu_clock() - cpu, wall_ns=clock() - wall)

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
