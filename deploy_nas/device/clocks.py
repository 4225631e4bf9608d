"""Sources of time, which tests substitute."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

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


def timestamp(at_s: float | None = None) -> str:
    """A moment as files have it, ISO 8601 in UTC: seconds since 1970, or now."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(at_s))
