"""The measuring loop: rounds in which every model gets a burst, with a sentinel timed in between.

A profile's runner, ``verify``, the comparison of INT8 with fp32 and the check on a device all use it. The
sentinel is one small network that is timed again and again: its latency shows how fast the device is at that
moment, whatever slows it (heat, a neighbour on the host).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import OptionError
from deploy_nas.core.fields import Fields
from deploy_nas.core.measured import Measured, Paced, latency_of
from deploy_nas.device.clocks import CLOCKS, Clocks
from deploy_nas.device.core_speed import CoreSpeed, slow_above_us
from deploy_nas.device.machine import Pinning
from deploy_nas.device.runtime import Runnable
from deploy_nas.device.timing import Burst, BurstSettings, Timer

QUIET_QUANTILE = 0.2
_BUSY_QUANTILE = 0.1
_FURTHER_THREAD = 0.7  # small layers keep only the first thread fully busy
_FAST_QUANTILE = 0.1  # the very fastest may be a lucky one
_PAUSE_S = 0.25
_MOST, _LONGEST = 10_000, 60_000.0  # counts and times, in files, that a loop can afford
_LONGEST_PACE_MS = 60_000.0
_PACED_MS, _LONGEST_PACED_MS = 5_000.0, 60_000.0
_LEAST_PACED, _MOST_PACED, _FEWEST_PACED = 20, 100, 5
_SENTINEL = BurstSettings(burst_ms=8.0, least_runs=5, warmup_runs=2, warmup_ms=3.0)

WAITING = "waiting"
"""What progress says while the core is slow."""

UNPINNED = Pinning(pinned=False)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureSettings:
    """How models are measured outside a profile.

    Args:
        threads: intra-op threads of the models; the processor share is judged by them.
        rounds: bursts per model.
        burst_ms, least_runs, warmup_runs, warmup_ms: as for ``BurstSettings``.
        pause_s: pause between rounds, so that one bad moment does not affect all of them.
        slow_factor: the device is slow while its sentinel takes more than this times its quiet time.
        wait_s: longest total wait for slow stretches to end; as long for a slow core, and twice the time that
            was undisturbed. 0: the device is measured as it is.
        seed: of the inputs and the order in each round.
        every_ms: measure each model at this pace too, a run every so many ms; 0: only back to back.
    """

    threads: int = 1
    rounds: int = 20
    burst_ms: float = 40.0
    least_runs: int = 8
    warmup_runs: int = 5
    warmup_ms: float = 3.0
    pause_s: float = 0.06
    slow_factor: float = 1.3
    wait_s: float = 15.0
    seed: int = 0
    every_ms: float = 0.0

    @property
    def burst(self) -> BurstSettings:
        """The settings of one burst."""
        return BurstSettings(
            burst_ms=self.burst_ms,
            least_runs=self.least_runs,
            warmup_runs=self.warmup_runs,
            warmup_ms=self.warmup_ms,
        )

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Fields) -> MeasureSettings:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            threads=fields.integer("threads", 1, _MOST),
            rounds=fields.integer("rounds", 1, _MOST),
            burst_ms=_duration(fields, "burst_ms"),
            least_runs=fields.integer("least_runs", 1, _MOST),
            warmup_runs=fields.integer("warmup_runs", 0, _MOST),
            warmup_ms=_duration(fields, "warmup_ms"),
            pause_s=_duration(fields, "pause_s"),
            slow_factor=fields.number("slow_factor", positive=True),
            wait_s=_duration(fields, "wait_s"),
            seed=fields.integer("seed", 0),
            every_ms=_duration(fields, "every_ms") if fields.holds("every_ms") else 0.0,
        )


def _duration(fields: Fields, key: str) -> float:
    """A time that can be waited for, in the unit of its key."""
    value = fields.number(key, most=_LONGEST)
    if value < 0.0:
        raise fields.wrong(key, "a number of at least 0")
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentinel:
    """The sentinel's model, open, and its latency on the quiet device, ms."""

    model: Runnable
    quiet_ms: float


class Watch:
    """Times the sentinel between bursts, and waits for slow stretches of the device to end.

    Args:
        timer: the sentinel's.
        burst: how the sentinel is timed.
        quiet_ms: its latency on the quiet device; ``None``: learned from the readings, as their low quantile.
        readings: of an earlier part of the run, ms.
        every_ms: a reading is reused up to this age.
        slow_factor: the device is slow while a reading exceeds this times ``quiet_ms``.
        wait_s: longest total wait.
    """

    def __init__(
        self,
        timer: Timer,
        *,
        burst: BurstSettings = _SENTINEL,
        quiet_ms: float | None = None,
        readings: Iterable[float] = (),
        every_ms: float = 0.0,
        slow_factor: float = 1.3,
        wait_s: float = 15.0,
    ) -> None:
        self.timer, self.burst = timer, burst
        self.readings = list(readings)
        self.slow_factor, self.wait_s, self.every_ms = slow_factor, wait_s, every_ms
        self._known_ms = quiet_ms
        self._last: tuple[int, float] | None = None
        self._waited_s = 0.0
        self._waited_for = False  # the timer itself has waited for the core, as long as it may

    @property
    def quiet_ms(self) -> float:
        """The sentinel's latency on the quiet device, as far as it is known, ms."""
        if self._known_ms is not None:
            return self._known_ms
        return float(np.quantile(self.readings, QUIET_QUANTILE))

    @property
    def limit_ms(self) -> float:
        """The device is slow while readings exceed this, ms."""
        return self.slow_factor * self.quiet_ms

    def read(self) -> float:
        """Time the sentinel now; returns its latency, ms."""
        burst = self.timer.burst(self.burst)
        self._waited_for = self.timer.on_slow_core(burst)
        self.readings.append(latency_of(burst.points_ms))
        return self.readings[-1]

    def wait(self) -> float:
        """Return a recent reading, ms, or a new one, taken after the slow stretch has ended.

        After ``wait_s`` is used up, slow readings are returned too.
        """
        clocks = self.timer.clocks
        if self._last is None or clocks.wall() - self._last[0] > self.every_ms * 1e6:
            reading = self.read()
            while reading > self.limit_ms and not self._waited_for and self._waited_s < self.wait_s:
                clocks.sleep(_PAUSE_S)
                self._waited_s += _PAUSE_S
                reading = self.read()
            self._last = (clocks.wall(), reading)
        return self._last[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A burst of the model at ``index``, and the sentinel's reading before it, ms, if there is one."""

    index: int
    burst: Burst
    sentinel_ms: float | None


def reads_core(threads: int, *, waits: bool) -> bool:
    """Whether the speed of this thread's core tells that of a run.

    With several threads it does not: the others spin for a moment after each run, and slow this one's core
    where it is the other half of theirs. Nor where the processor only waits.
    """
    return threads == 1 and not waits


def one_round(
    timers: Sequence[Timer], burst: BurstSettings, rng: np.random.Generator, watch: Watch | None = None
) -> Iterator[Taken]:
    """One burst of each model, in random order, each once the device is not slow."""
    for index in rng.permutation(len(timers)):
        beside = None if watch is None else watch.wait()
        yield Taken(index=int(index), burst=timers[int(index)].burst(burst), sentinel_ms=beside)


def measure_models(
    models: Sequence[Runnable],
    how: MeasureSettings,
    sentinel: Sentinel | None = None,
    *,
    pinning: Pinning = UNPINNED,
    waits: bool = False,
    core_us: float | None = None,
    progress: Progress | None = None,
    clocks: Clocks = CLOCKS,
) -> list[Measured]:
    """Measure models in turn: every round has one burst of each.

    A burst counts only if the core was not slow beside its runs, and, with a sentinel, if the readings before
    and after it are not slow. A model without such bursts keeps all of its bursts, so that a slow device can
    be measured too.

    Args:
        models: the models, open.
        how: rounds, bursts, pauses.
        sentinel: read before each burst.
        pinning: where the threads run.
        waits: the provider works on another device while the processor waits, whose share tells nothing.
        core_us: reading of the undisturbed core, from an earlier run on this machine (``device.core_speed``).
        progress: called with the bursts done, the bursts in total and "measure", or :data:`WAITING`; then as
            :func:`measure_paced` does.
        clocks: sources of time.

    Returns:
        One result per model, in their order, each with the conditions it was measured under.

    Raises:
        OptionError: an invalid pace.
    """
    check_pace(how.every_ms)
    rng = np.random.default_rng(how.seed)
    taken: list[Taken] = []

    def shown(what: str) -> None:
        if progress is not None:
            progress(len(taken), how.rounds * len(models), what)

    core = None
    if reads_core(how.threads, waits=waits):
        core = CoreSpeed(
            clocks,
            readings_us=[] if core_us is None else [core_us],
            wait_s=how.wait_s,
            waiting=lambda: shown(WAITING),
        )
    timers = [Timer(model, rng, clocks, core) for model in models]
    watch = None
    if sentinel is not None:
        watch = Watch(
            Timer(sentinel.model, rng, clocks, core),
            quiet_ms=sentinel.quiet_ms,
            slow_factor=how.slow_factor,
            wait_s=how.wait_s,
        )
    for number in range(how.rounds):
        if number:
            clocks.sleep(how.pause_s)
        for one in one_round(timers, how.burst, rng, watch):
            taken.append(one)
            shown("measure")
    readings = [one.burst.core_us for one in taken if one.burst.core_us is not None]
    limit_us = min(slow_above_us(readings), slow_above_us([] if core_us is None else [core_us]))
    quiet = [one.burst.core_us is None or one.burst.core_us <= limit_us for one in taken]
    if watch is not None:
        beside = [*(one.sentinel_ms or 0.0 for one in taken), watch.read()]
        quiet = [
            good and max(pair) <= watch.limit_ms
            for good, pair in zip(quiet, itertools.pairwise(beside), strict=True)
        ]
    place = pinning.conditions(how.threads)
    quiet_ms = None if sentinel is None else sentinel.quiet_ms
    return [
        _measured(
            [(one, good) for one, good in zip(taken, quiet, strict=True) if one.index == index],
            place,
            quiet_ms,
            limit_us,
            waits=waits,
            paced=None if not how.every_ms else measure_paced(timer, how.every_ms, progress),
        )
        for index, timer in enumerate(timers)
    ]


def check_pace(every_ms: float, least: float = 0.0) -> None:
    """Raise :class:`OptionError` unless this is a pace that can be waited for; 0: no pace."""
    if not (math.isfinite(every_ms) and least <= every_ms <= _LONGEST_PACE_MS):
        raise OptionError(
            f"must be above 0 and at most {_LONGEST_PACE_MS:g}, is {every_ms}", subject="every_ms"
        )


def measure_paced(timer: Timer, every_ms: float, progress: Progress | None = None) -> Paced:
    """Run at a fixed pace for some five seconds, 20 to 100 times; at slow paces for a minute, or 5 times.

    ``progress`` is called with the runs done, the runs in total and "paced".
    """
    runs = min(_MOST_PACED, max(_LEAST_PACED, _PACED_MS / every_ms), _LONGEST_PACED_MS / every_ms)
    count = max(_FEWEST_PACED, int(runs))

    def ran(done: int) -> None:
        if progress is not None:
            progress(done, count, "paced")

    return Paced.of(timer.paced(every_ms, count, ran), every_ms)


def _measured(
    own: Sequence[tuple[Taken, bool]],
    place: Conditions,
    quiet_ms: float | None,
    limit_us: float,
    *,
    waits: bool,
    paced: Paced | None,
) -> Measured:
    """The result of one model, from its bursts and whether each was taken on the quiet device."""
    good = [one for one, good in own if good]
    counted = good or [one for one, _ in own]
    beside = [one.sentinel_ms for one, _ in own if one.sentinel_ms is not None]
    sentinel_ms = latency_of(beside) if beside else None
    busy = None if waits else round(busy_share([one.burst.busy for one in counted], place.threads), 3)
    speed = None if sentinel_ms is None or quiet_ms is None else round(quiet_ms / sentinel_ms, 4)
    spread = spread_percent([latency_of(one.burst.points_ms) for one in counted])
    return Measured.of(
        np.concatenate([one.burst.points_ms for one in counted]),
        runs=sum(one.burst.runs for one, _ in own),
        sentinel_ms=sentinel_ms,
        conditions=replace(
            place,
            busy=busy,
            spread_percent=round(spread, 2),
            speed=speed,
            core_shared=all((one.burst.core_us or 0.0) > limit_us for one in counted),
        ),
        paced=paced,
    )


def spread_percent(bursts_ms: Sequence[float]) -> float:
    """How far the median burst lies above the fastest tenth, percent: a few bad bursts do not count."""
    fast, middle = np.quantile(np.asarray(bursts_ms), [_FAST_QUANTILE, 0.5])
    return 100.0 * float(middle / fast - 1.0)


def busy_share(shares: Sequence[float], threads: int) -> float:
    """Share of the needed processor time that the bursts got: the lowest decile, at most 1.

    Args:
        shares: processor time over wall time, per burst.
        threads: intra-op threads.
    """
    asked = 1 + _FURTHER_THREAD * (threads - 1)
    return min(1.0, float(np.quantile(np.asarray(shares), _BUSY_QUANTILE)) / asked)
