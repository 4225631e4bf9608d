"""Timing one model: bursts of single inferences, back to back, after a warm-up.

``latency_ms`` everywhere in deploy-nas is the lower quartile of the wall time of single
``session.run`` calls (batch 1, warm, one session running), collected in short bursts that are
spread over several rounds. Low quantiles repeat from hour to hour where means do not; bursts in
rounds keep one bad second from owning a row (docs/notes/latency.md).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LATENCY_QUANTILE = 0.25
_KEPT_POINTS = 21

Clock = Callable[[], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Burst:
    """One burst: how many runs, up to 21 evenly spaced order statistics of them, processor share.

    ``busy`` is processor time over wall time, 1.0 for one thread that nobody disturbed.
    """

    runs: int
    points_ms: tuple[float, ...]
    busy: float


def latency_of(points_ms: Sequence[float] | NDArray[np.float64]) -> float:
    """The one statistic: the lower quartile of the times, ms."""
    return float(np.quantile(np.asarray(points_ms, dtype=np.float64), LATENCY_QUANTILE))


class Timer:
    """One open model with its input, ready to be timed.

    Args:
        session: an onnxruntime session (anything with ``run`` and ``get_inputs``).
        rng: draws the input.
        clock: nanoseconds, monotonic.
        cpu_clock: nanoseconds this process had of all processors.
    """

    def __init__(
        self,
        session: Any,
        rng: np.random.Generator,
        *,
        clock: Clock = time.perf_counter_ns,
        cpu_clock: Clock = time.process_time_ns,
    ) -> None:
        self.session, self.clock, self.cpu_clock = session, clock, cpu_clock
        entry = session.get_inputs()[0]
        shape = [d if isinstance(d, int) else 1 for d in entry.shape]
        self.feed = {entry.name: rng.standard_normal(shape, dtype=np.float32)}

    def burst(self, *, burst_ms: float, least_runs: int, warmup_runs: int, warmup_ms: float = 0.0) -> Burst:
        """Warm up, then run back to back for about ``burst_ms``, at least ``least_runs`` times.

        The warm-up takes at least ``warmup_runs`` and ``warmup_ms``: a session's threads need a few
        milliseconds of runs until they spin.
        """
        run, feed, clock = self.session.run, self.feed, self.clock
        quickest = float("inf")
        warm, entered = 0, clock()
        while warm < max(1, warmup_runs) or clock() - entered < warmup_ms * 1e6:
            begin = clock()
            run(None, feed)
            quickest = min(quickest, clock() - begin)
            warm += 1
        runs = int(min(2000, max(least_runs, burst_ms * 1e6 / max(quickest, 1.0))))
        times = np.empty(runs, dtype=np.int64)
        collecting = gc.isenabled()
        gc.disable()
        cpu, wall = self.cpu_clock(), clock()
        try:
            for i in range(runs):
                begin = clock()
                run(None, feed)
                times[i] = clock() - begin
        finally:
            if collecting:
                gc.enable()
        busy = (self.cpu_clock() - cpu) / max(1, clock() - wall)
        kept = min(runs, _KEPT_POINTS)
        points = np.quantile(times / 1e6, np.linspace(0.0, 1.0, kept), method="nearest")
        return Burst(runs=runs, points_ms=tuple(round(float(p), 6) for p in points), busy=round(busy, 3))
