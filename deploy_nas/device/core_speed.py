"""Tells, between two runs, whether other work slows this core down at that very moment.

On a rented machine a core is often one of two hardware threads whose other half belongs to somebody else.
While that half works, everything here takes up to twice as long, for ten milliseconds or for seconds, and
no counter of this machine shows it: the processor share stays at 100%. A fixed piece of arithmetic does
(docs/notes/latency.md). So a burst counts the runs between two quick readings, and waits while they are slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from deploy_nas.device.clocks import CLOCKS, Clocks

_STEPS = 1000  # 40 microseconds on a processor of 2024
_SLOW_FACTOR = 1.4  # half a core gives 1.8 or more; a clock that falls as the core gets warm 1.2
_QUIET_QUANTILE = 0.05  # the very fastest may be of a boost that does not last
_REMEMBERED_S = 30.0
_WAIT_SHARE = 2.0
_TELL_NS = 1e9


def arithmetic() -> None:
    """The piece of work that is timed; it stays within the nearest cache."""
    total = 0
    for i in range(_STEPS):
        total += i * i


def quiet_us(readings_us: Iterable[float]) -> float | None:
    """The reading of the undisturbed core among many, microseconds; ``None`` without readings."""
    found = list(readings_us)
    return float(np.quantile(found, _QUIET_QUANTILE)) if found else None


def slow_above_us(readings_us: Iterable[float]) -> float:
    """Readings above this are of a slowed core, microseconds; infinite without readings."""
    found = quiet_us(readings_us)
    return float("inf") if found is None else _SLOW_FACTOR * found


class CoreSpeed:
    """Reads the speed of the core that the calling thread runs on, and waits while it is slow.

    What is fast is forgotten after half a minute to a minute without such a reading: a device that got hot
    is not waited for.

    Args:
        clocks: sources of time.
        readings_us: of an earlier part of the run, microseconds.
        wait_s: time that may be lost to slow moments; twice the time that was not lost is added to what is
            left, up to this.
        waiting: called every second or so while it waits.
        work: the piece of work that is timed.
    """

    def __init__(
        self,
        clocks: Clocks = CLOCKS,
        *,
        readings_us: Iterable[float] = (),
        wait_s: float = 0.0,
        waiting: Callable[[], None] = lambda: None,
        work: Callable[[], None] = arithmetic,
    ) -> None:
        self._clocks, self._waiting, self._work = clocks, waiting, work
        self._limits_us = [slow_above_us(readings_us), float("inf")]  # of the last half minute, of this one
        self._since = clocks.wall()
        self._left_s = self._wait_s = wait_s

    @property
    def may_wait(self) -> bool:
        """Whether there is time left to lose to slow moments."""
        return self._left_s > 0.0

    def read(self) -> float:
        """Time the piece of work once; returns microseconds. Slow readings are time lost."""
        begin = self._clocks.wall()
        self._work()
        reading = (self._clocks.wall() - begin) / 1e3
        if self._clocks.wall() - self._since > 1e9 * _REMEMBERED_S:
            self._limits_us, self._since = [self._limits_us[1], float("inf")], self._clocks.wall()
        self._limits_us[1] = min(self._limits_us[1], _SLOW_FACTOR * reading)
        if self.slow(reading):
            self._left_s -= reading / 1e6
        return reading

    def slow(self, reading_us: float) -> bool:
        """Whether the core was slow at a reading, by all that is known of it so far."""
        return reading_us > min(self._limits_us)

    def wait(self, reading_us: float) -> float:
        """Read until the core is not slow, or no time is left; returns the last reading.

        It reads without a rest: on a rented machine, a core that sleeps is given away.
        """
        told = self._clocks.wall()
        while self.slow(reading_us) and self.may_wait:
            reading_us = self.read()
            if self._clocks.wall() - told > _TELL_NS:
                self._waiting()
                told = self._clocks.wall()
        return reading_us

    def spent(self, seconds: float, *, counts: bool) -> None:
        """Take note of a group of runs, and whether they count."""
        self._left_s = min(self._wait_s, self._left_s + (_WAIT_SHARE * seconds if counts else -seconds))
