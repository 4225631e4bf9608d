"""The parts of a profile: its rows, held-out networks, noise and origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from deploy_nas.core.fields import Fields

MOST_MS = 1e7
_MOST_PERCENT = 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One layer's times. ``latency_ms`` is its share inside a network; the others are of the layer alone.

    Where a table was carried over, no layer was timed alone: those are ``None`` then.

    ``image_size``: of the networks it applies to; ``None``: all. Imported tables have a time per image size.
    """

    key: str
    latency_ms: float
    alone_ms: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    spread_percent: float | None = None
    runs: int | None = None
    stable: bool | None = None
    image_size: int | None = None

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {key: held for key, held in asdict(self).items() if held is not None}

    @classmethod
    def from_json(cls, fields: Fields, *, timed: bool = True) -> Row:
        """From a file's object; raises :class:`RecordError` naming the key.

        Without ``timed``, from that of a table that was carried over.
        """
        if not timed:
            return cls(
                key=fields.text("key"),
                latency_ms=fields.number("latency_ms", positive=True, most=MOST_MS),
            )
        return cls(
            key=fields.text("key"),
            latency_ms=fields.number("latency_ms", positive=True, most=MOST_MS),
            alone_ms=fields.number("alone_ms", positive=True, most=MOST_MS),
            p50_ms=fields.number("p50_ms", positive=True, most=MOST_MS),
            p90_ms=fields.number("p90_ms", positive=True, most=MOST_MS),
            p99_ms=fields.number("p99_ms", positive=True, most=MOST_MS),
            spread_percent=fields.number("spread_percent", most=_MOST_PERCENT),
            runs=fields.integer("runs", 1),
            stable=fields.boolean("stable"),
            image_size=fields.optional_integer("image_size"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A network held out of the fit that predicted it: its predicted and its measured latency.

    ``moments_ms`` are its latencies in each half of the run, drift included: what a single measurement may
    find.
    """

    image_size: int
    choices: tuple[int, ...]
    predicted_ms: float
    measured_ms: float
    moments_ms: tuple[float, ...]

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {**asdict(self), "choices": list(self.choices), "moments_ms": list(self.moments_ms)}

    @classmethod
    def from_json(cls, fields: Fields) -> Pair:
        """From a file's object; raises :class:`RecordError` naming the key."""
        pair = cls(
            image_size=fields.integer("image_size", 1),
            choices=tuple(fields.integers("choices")),
            predicted_ms=fields.number("predicted_ms", positive=True, most=MOST_MS),
            measured_ms=fields.number("measured_ms", positive=True, most=MOST_MS),
            moments_ms=tuple(fields.numbers("moments_ms", positive=True, most=MOST_MS)),
        )
        if not pair.moments_ms:
            raise fields.wrong("moments_ms", "a list of one or more times")
        return pair


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """The resolution and the steadiness of the machine while it was profiled.

    ``resolution_percent``: two timings of one model differ by less in 95 of 100 cases (A/A test).
    ``drift_percent``: slowest against fastest stretch, from the sentinel. ``busy`` is the lowest decile
    of the bursts' share of the processor, ``cores`` are those that the run was pinned to, and ``quota_cores``
    is the processor time that cgroups allowed it, in cores. ``faults`` are sentences, each of one thing that
    was wrong. ``clock_ms`` are the steps of the clock, where it was coarse. ``core_us`` is the reading of the
    undisturbed core (``device.core_speed``), microseconds, where it was read.
    """

    resolution_percent: float
    drift_percent: float
    busy: float
    unstable_rows: int
    faults: tuple[str, ...]
    cores: tuple[int, ...] = ()
    quota_cores: float | None = None
    clock_ms: float | None = None
    core_us: float | None = None

    def to_json(self) -> dict[str, object]:
        """The object in files; what older files lack is left out if it is unknown."""
        return {
            "resolution_percent": self.resolution_percent,
            "drift_percent": self.drift_percent,
            "busy": self.busy,
            "unstable_rows": self.unstable_rows,
            "faults": list(self.faults),
            **({"cores": list(self.cores)} if self.cores else {}),
            **({} if self.quota_cores is None else {"quota_cores": self.quota_cores}),
            **({} if self.clock_ms is None else {"clock_ms": self.clock_ms}),
            **({} if self.core_us is None else {"core_us": self.core_us}),
        }

    @classmethod
    def from_json(cls, fields: Fields) -> Noise:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            resolution_percent=fields.number("resolution_percent", most=_MOST_PERCENT),
            drift_percent=fields.number("drift_percent", most=_MOST_PERCENT),
            busy=fields.number("busy", most=1e6),
            unstable_rows=fields.integer("unstable_rows", 0),
            faults=tuple(fields.texts("faults")),
            cores=tuple(fields.integers("cores")) if fields.holds("cores") else (),
            quota_cores=fields.optional_number("quota_cores", positive=True),
            clock_ms=fields.optional_number("clock_ms", positive=True),
            core_us=fields.optional_number("core_us", positive=True),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """The origin of a table that deploy-nas did not measure.

    Args:
        format: of the tables.
        device: a name for it.
        files: sha256 of each table by file name.
    """

    format: str
    device: str
    files: Mapping[str, str]

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {"format": self.format, "device": self.device, "files": dict(self.files)}

    @classmethod
    def from_json(cls, fields: Fields) -> Imported:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(format=fields.text("format"), device=fields.text("device"), files=fields.text_map("files"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """Figures of the networks held out of the fit.

    Args:
        networks: how many.
        mean_error_percent, worst_error_percent: of ``|predicted / measured - 1|``.
        within_5_percent, within_10_percent: share of networks with at most that error, in percent.
        rank_correlation: Spearman's; 0 if it is undefined.
    """

    networks: int
    mean_error_percent: float
    worst_error_percent: float
    within_5_percent: float
    within_10_percent: float
    rank_correlation: float

    def to_json(self) -> dict[str, object]:
        """The figures in files."""
        return {**asdict(self), "networks": float(self.networks)}
