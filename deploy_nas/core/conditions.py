"""The one judgement of the machine that something was measured on: was it left alone, and is it as it was."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deploy_nas.core.errors import UnstableDeviceError
from deploy_nas.core.fields import Fields

LEAST_BUSY = 0.93
MOST_SPREAD_PERCENT = 20.0
LEAST_SPEED = 1 / 1.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """The state of the machine during a measurement. What is unknown is ``None``, and is not judged.

    Args:
        threads: intra-op threads of the model.
        cores: processor cores that it was pinned to, that of the calling thread last; empty: not pinned.
        busy: share of the needed processor time that the runs had (``device.measure.busy_share``).
        spread_percent: how far the median burst lies above the fastest tenth.
        quota_cores: processor time that this process' cgroups may use, in cores; ``None``: no quota.
        speed: of the device, relative to its speed when profiled (1.0: the same).
        clock_ms: steps of the clock that timed the runs, where it is coarse, as in a browser.
        emulator: that the runs happened in, whose times are no device's.
        core_shared: whether something slowed the core during every run (``device.core_speed``).
    """

    threads: int = 1
    cores: tuple[int, ...] = ()
    busy: float | None = None
    spread_percent: float | None = None
    quota_cores: float | None = None
    speed: float | None = None
    clock_ms: float | None = None
    emulator: str | None = None
    core_shared: bool = False

    @property
    def _short_of_quota(self) -> bool:
        return self.quota_cores is not None and self.quota_cores < self.threads

    @property
    def _passing(self) -> tuple[str, ...]:
        """Faults that may be gone a moment later."""
        found = []
        if self.busy is not None and self.busy < LEAST_BUSY and not self._short_of_quota:
            found.append(f"other work took the processor: runs had it {100 * self.busy:.0f}% of the time")
        if self.core_shared:
            found.append(
                "something slowed the core during all runs: work on the other half of it, or a lower clock"
            )
        if self.spread_percent is not None and self.spread_percent > MOST_SPREAD_PERCENT:
            found.append(
                f"the runs did not repeat: half of them were at least {self.spread_percent:.0f}% slower than "
                "the fastest tenth"
            )
        return tuple(found)

    @property
    def faults(self) -> tuple[str, ...]:
        """A sentence for each thing that is wrong; empty: the measurement can be relied on."""
        found = []
        if self.emulator is not None:
            found.append(f"the times are those of an emulator ({self.emulator}), and of no device")
        if self._short_of_quota:
            had = "" if self.busy is None else f": runs had it {100 * self.busy:.0f}% of the time"
            threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
            found.append(f"a CPU quota of {self.quota_cores:g} cores stops {threads} again and again{had}")
        if self.speed is not None and self.speed < LEAST_SPEED:
            found.append(f"the device runs at {self.speed:.2f} of the speed it was profiled at")
        return (*found, *self._passing)

    @property
    def may_pass(self) -> bool:
        """True if it is worth measuring again: something is wrong, and nothing that will stay."""
        return bool(self._passing) and len(self._passing) == len(self.faults)

    def at_speed(self, speed: float | None) -> Conditions:
        """The same with another speed."""
        return replace(self, speed=speed)

    def check(self, subject: str) -> None:
        """Raise :class:`UnstableDeviceError` naming the faults, if there are any."""
        if self.faults:
            raise UnstableDeviceError(
                f"was measured on an unstable machine ({'; '.join(self.faults)})",
                subject=subject,
                hint="measure again on a quiet machine, or use `allow_unstable`",
            )

    def to_json(self) -> dict[str, object]:
        """The object in files; unknown values are left out."""
        value: dict[str, object] = {
            "threads": self.threads,
            "cores": list(self.cores),
            "busy": self.busy,
            "spread_percent": self.spread_percent,
            "quota_cores": self.quota_cores,
            "speed": self.speed,
            "clock_ms": self.clock_ms,
            "emulator": self.emulator,
            "core_shared": self.core_shared or None,
            "faults": list(self.faults),
        }
        return {key: held for key, held in value.items() if held is not None}

    @classmethod
    def from_json(cls, fields: Fields) -> Conditions:
        """From a file's object, whose faults are found again; raises :class:`RecordError` naming the key."""
        return cls(
            threads=fields.integer("threads", 1),
            cores=tuple(fields.integers("cores")),
            busy=fields.optional_number("busy"),
            spread_percent=fields.optional_number("spread_percent"),
            quota_cores=fields.optional_number("quota_cores", positive=True),
            speed=fields.optional_number("speed", positive=True),
            clock_ms=fields.optional_number("clock_ms", positive=True),
            emulator=fields.optional_text("emulator"),
            core_shared=fields.optional_boolean("core_shared") or False,
        )
