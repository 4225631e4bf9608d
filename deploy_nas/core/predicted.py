"""The prediction for an architecture: accuracy, latency with bound and budget, and the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from deploy_nas.core.fields import Fields
from deploy_nas.core.figures import ANALYTICAL
from deploy_nas.core.fingerprint import CPU_PROVIDER
from deploy_nas.core.precision import FP32, INT8

Unit = Literal["percent", "fraction"]

_ANALYTICAL = tuple(figure.name for figure in ANALYTICAL)
_MOST_THREADS = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Elsewhere:
    """The prediction on a further device, and the budget there.

    Args:
        device: its name.
        profile: id of its profile.
        latency_ms: predicted latency.
        bound_ms: upper bound of the measured latency; ``None``: unknown.
        budget_ms: latency budget; ``None``: no budget.
    """

    device: str
    profile: str | None = None
    latency_ms: float | None = None
    bound_ms: float | None = None
    budget_ms: float | None = None

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {
            "device": self.device,
            "profile": self.profile,
            "latency_ms": self.latency_ms,
            "bound_ms": self.bound_ms,
            "budget_ms": self.budget_ms,
        }

    @classmethod
    def from_json(cls, fields: Fields) -> Elsewhere:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            device=fields.text("device"),
            profile=fields.optional_text("profile"),
            latency_ms=fields.optional_number("latency_ms", positive=True),
            bound_ms=fields.optional_number("bound_ms", positive=True),
            budget_ms=fields.optional_number("budget_ms", positive=True),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """A prediction; ``None`` where a value was not predicted or asked for.

    Args:
        figures: figures that follow from the architecture (``core.figures.ANALYTICAL``) by name.
        latency_ms: predicted latency on the first device.
        bound_ms: upper bound of its measured latency, at ``confidence``.
        budget_ms: latency budget of the search.
        confidence: confidence of the bound.
        measured_ms: latency measured by the search.
        accuracy: predicted top-1 in ``accuracy_unit``.
        accuracy_spread: standard deviation of an ensemble, in the same unit.
        accuracy_note: a known bias of the predictor.
        profile: id of the profile behind the latency.
        device: name of the device, where it has one.
        provider, provider_options: profiled execution provider and its options; a measurement must use them.
        threads: profiled number of intra-op threads.
        precision: profiled precision.
        seed: seed of the search.
        picked: choice of the point on a front: "knee" or a budget in ms.
        others: predictions on further devices.
        extra: unknown keys of the file, kept when it is written again.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    latency_ms: float | None = None
    bound_ms: float | None = None
    budget_ms: float | None = None
    confidence: float | None = None
    measured_ms: float | None = None
    accuracy: float | None = None
    accuracy_unit: Unit | None = None
    accuracy_spread: float | None = None
    accuracy_note: str | None = None
    profile: str | None = None
    device: str | None = None
    provider: str | None = None
    provider_options: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    precision: str | None = None
    seed: int | None = None
    picked: str | None = None
    others: tuple[Elsewhere, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self != Predicted()

    @property
    def accuracy_percent(self) -> float | None:
        """Predicted top-1 in percent, whatever the unit."""
        if self.accuracy is None:
            return None
        return self.accuracy * (100.0 if self.accuracy_unit == "fraction" else 1.0)

    @property
    def measured_provider(self) -> str:
        """The execution provider that a measurement must use to be comparable."""
        return self.provider or CPU_PROVIDER

    def promise_for(self, precision: str) -> Predicted:
        """The part of the prediction that holds for a file of that precision: latencies hold for their own.

        A budget is meant for the file that ships, so an INT8 file inherits that of the fp32 search.
        """
        if (self.precision or FP32) == precision:
            return self
        return Predicted(
            figures={name: v for name, v in self.figures.items() if name != "model_mb"},
            accuracy=self.accuracy,
            accuracy_unit=self.accuracy_unit,
            budget_ms=self.budget_ms if precision == INT8 else None,
            threads=self.threads,
            provider=self.provider,
            provider_options=self.provider_options,
        )

    def without_latency(self) -> Predicted:
        """The prediction without latency, bound and budget."""
        return replace(
            self, latency_ms=None, bound_ms=None, budget_ms=None, measured_ms=None, confidence=None
        )

    def to_json(self) -> dict[str, object]:
        """The object in files; unknown values are left out, except for the bound of a known latency."""
        value: dict[str, object] = {
            "latency_ms": self.latency_ms,
            **self.figures,
            "accuracy": self.accuracy,
            "accuracy_unit": self.accuracy_unit,
            "bound_ms": self.bound_ms,
            "confidence": self.confidence,
            "profile": self.profile,
            "device": self.device,
            "provider": self.provider,
            "provider_options": dict(self.provider_options) or None,
            "threads": self.threads,
            "precision": self.precision,
            "seed": self.seed,
            "accuracy_spread": self.accuracy_spread,
            "accuracy_note": self.accuracy_note,
            "budget_ms": self.budget_ms,
            "measured_ms": self.measured_ms,
            "picked": self.picked,
            "others": [other.to_json() for other in self.others] or None,
            **self.extra,
        }
        shown = {"bound_ms", "confidence"} if self.latency_ms is not None else set()
        return {key: held for key, held in value.items() if held is not None or key in shown}

    @classmethod
    def from_json(cls, fields: Fields) -> Predicted:
        """From a file's object.

        Raises:
            RecordError: a value of a wrong type or out of range; names the key.
        """
        unit = fields.optional_text("accuracy_unit")
        if unit not in (None, "percent", "fraction"):
            raise fields.wrong("accuracy_unit", "percent or fraction")
        figures = {n: fields.number(n, positive=True) for n in _ANALYTICAL if n in fields.value}
        known = {*cls.__dataclass_fields__, *_ANALYTICAL}
        return cls(
            figures=figures,
            latency_ms=fields.optional_number("latency_ms", positive=True),
            bound_ms=fields.optional_number("bound_ms", positive=True),
            budget_ms=fields.optional_number("budget_ms", positive=True),
            confidence=fields.optional_number("confidence"),
            measured_ms=fields.optional_number("measured_ms", positive=True),
            accuracy=fields.optional_number("accuracy"),
            accuracy_unit=None if unit is None else "fraction" if unit == "fraction" else "percent",
            accuracy_spread=fields.optional_number("accuracy_spread"),
            accuracy_note=fields.optional_text("accuracy_note"),
            profile=fields.optional_text("profile"),
            device=fields.optional_text("device"),
            provider=fields.optional_text("provider"),
            provider_options=fields.text_map("provider_options") if fields.holds("provider_options") else {},
            threads=fields.optional_integer("threads", 1, _MOST_THREADS),
            precision=fields.optional_text("precision"),
            seed=fields.optional_integer("seed", 0),
            picked=fields.optional_text("picked"),
            others=tuple(map(Elsewhere.from_json, fields.objects("others")))
            if fields.holds("others")
            else (),
            extra={key: value for key, value in fields.value.items() if key not in known},
        )
