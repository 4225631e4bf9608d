"""Measurements of one model: its latency on a device, and its top-1 on images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.fields import Fields
from deploy_nas.core.reading import Reading

LATENCY_QUANTILE = 0.25
ATTEMPTS = 3
_Z_95 = 1.959964


def latency_of(points_ms: Sequence[float] | NDArray[np.float64]) -> float:
    """The definition of latency: the lower quartile of the times of single runs, ms."""
    return float(np.quantile(np.asarray(points_ms, dtype=np.float64), LATENCY_QUANTILE))


@dataclass(frozen=True, kw_only=True, slots=True)
class Paced:
    """Times of single runs that begin at a fixed pace, as for the pictures of a camera, ms.

    Between two runs the core rests, and its clock and caches with it, so each takes longer than one of many
    back to back.

    Args:
        every_ms: from the start of a run to that of the next.
        p50_ms, p90_ms: quantiles.
        runs: number of runs.
    """

    every_ms: float
    p50_ms: float
    p90_ms: float
    runs: int

    @classmethod
    def of(cls, times_ms: Sequence[float] | NDArray[np.float64], every_ms: float) -> Paced:
        """Statistics of the times of single runs, ms."""
        p50, p90 = (round(float(q), 6) for q in np.quantile(np.asarray(times_ms), [0.5, 0.9]))
        return cls(every_ms=every_ms, p50_ms=p50, p90_ms=p90, runs=len(times_ms))

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Fields) -> Paced:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            every_ms=fields.number("every_ms", positive=True),
            p50_ms=fields.number("p50_ms", positive=True),
            p90_ms=fields.number("p90_ms", positive=True),
            runs=fields.integer("runs", 1),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Times of single runs of one model, back to back, ms.

    Args:
        latency_ms: their lower quartile (:func:`latency_of`).
        p50_ms, p90_ms, p99_ms: quantiles.
        runs: number of runs.
        sentinel_ms: time of the sentinel between the runs; ``None`` where none was timed.
        conditions: the state of the machine; ``None`` where it was not recorded.
        paced: the same model at a fixed pace; ``None`` where that was not measured.
    """

    latency_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    runs: int
    sentinel_ms: float | None = None
    conditions: Conditions | None = None
    paced: Paced | None = None

    @property
    def busy(self) -> float | None:
        """Share of the processor time that the runs had; ``None`` where it was not recorded."""
        return None if self.conditions is None else self.conditions.busy

    @property
    def faults(self) -> tuple[str, ...]:
        """A sentence for each thing that was wrong with the machine, as far as it was recorded."""
        return () if self.conditions is None else self.conditions.faults

    def check(self, subject: str) -> None:
        """Raise :class:`UnstableDeviceError` naming the faults, if there are any."""
        if self.conditions is not None:
            self.conditions.check(subject)

    @classmethod
    def of(
        cls,
        points_ms: Sequence[float] | NDArray[np.float64],
        *,
        runs: int,
        sentinel_ms: float | None = None,
        conditions: Conditions | None = None,
        paced: Paced | None = None,
    ) -> Measured:
        """Statistics of pooled times of single runs, ms."""
        p50, p90, p99 = (float(q) for q in np.quantile(np.asarray(points_ms), [0.5, 0.9, 0.99]))
        return cls(
            latency_ms=latency_of(points_ms),
            p50_ms=p50,
            p90_ms=p90,
            p99_ms=p99,
            runs=runs,
            sentinel_ms=sentinel_ms,
            conditions=conditions,
            paced=paced,
        )

    def to_json(self) -> dict[str, object]:
        """The object in files; unknown values are left out."""
        value = {
            "latency_ms": self.latency_ms,
            "p50_ms": self.p50_ms,
            "p90_ms": self.p90_ms,
            "p99_ms": self.p99_ms,
            "runs": self.runs,
            "sentinel_ms": self.sentinel_ms,
            "conditions": None if self.conditions is None else self.conditions.to_json(),
            "paced": None if self.paced is None else self.paced.to_json(),
        }
        return {key: held for key, held in value.items() if held is not None}

    @classmethod
    def from_json(cls, fields: Fields) -> Measured:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            latency_ms=fields.number("latency_ms", positive=True),
            p50_ms=fields.number("p50_ms", positive=True),
            p90_ms=fields.number("p90_ms", positive=True),
            p99_ms=fields.number("p99_ms", positive=True),
            runs=fields.integer("runs", 1),
            sentinel_ms=fields.optional_number("sentinel_ms", positive=True),
            conditions=_conditions(fields),
            paced=Paced.from_json(fields.fields("paced")) if fields.holds("paced") else None,
        )


def _conditions(fields: Fields) -> Conditions | None:
    """The conditions of a measurement; older files have the share of the processor alone."""
    if fields.holds("conditions"):
        return Conditions.from_json(fields.fields("conditions"))
    busy = fields.optional_number("busy")
    return None if busy is None else Conditions(busy=busy)


def least_disturbed(attempt: Callable[[], list[Measured]], most: int = ATTEMPTS) -> list[Measured]:
    """Measure models again while something passing disturbs them, up to ``most`` times; the best attempt."""
    found: list[list[Measured]] = []
    while len(found) < most:
        found.append(attempt())
        if not any(one.conditions is not None and one.conditions.may_pass for one in found[-1]):
            break
    return min(found, key=_disturbed)


def _disturbed(found: Sequence[Measured]) -> tuple[int, float]:
    """How much an attempt was disturbed: its faults, and the processor time that it lacked."""
    return sum(len(one.faults) for one in found), -min((one.busy or 0.0 for one in found), default=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Top1:
    """``right`` of ``images`` were classified correctly; ``reading`` says how these were read, if known."""

    right: int
    images: int
    reading: Reading | None = None

    @property
    def percent(self) -> float:
        """Share of images classified correctly."""
        return 100.0 * self.right / self.images

    @property
    def interval_percent(self) -> tuple[float, float]:
        """95% interval of the true share (Wilson, JASA 1927)."""
        n, p, z = self.images, self.right / self.images, _Z_95
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return 100.0 * (centre - half), 100.0 * (centre + half)

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        value: dict[str, object] = {
            "percent": self.percent,
            "images": self.images,
            "interval_percent": list(self.interval_percent),
        }
        return value if self.reading is None else value | {"reading": self.reading.to_json()}

    @classmethod
    def from_json(cls, fields: Fields) -> Top1:
        """From a file's object; raises :class:`RecordError` naming the key."""
        images = fields.integer("images", 1)
        return cls(
            right=round(fields.number("percent") * images / 100.0),
            images=images,
            reading=Reading.from_json(fields.fields("reading")) if fields.holds("reading") else None,
        )
