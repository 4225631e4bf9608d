"""The certificate of a verified model: what was promised of it, and what was measured on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy_nas.core.fields import Fields
from deploy_nas.core.fingerprint import CPU_PROVIDER, ONNXRUNTIME, is_cpu, version_from_json, version_to_json
from deploy_nas.core.measured import Measured, Top1
from deploy_nas.core.precision import FP32


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Agreement between the file's outputs and those of the network it was exported from.

    Args:
        reference: the network they were compared with.
        inputs: how many were compared.
        largest_difference: of a logit.
        allowed: the largest difference allowed.
    """

    reference: str
    inputs: int
    largest_difference: float
    allowed: float

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {
            "with": self.reference,
            "inputs": self.inputs,
            "largest_difference": self.largest_difference,
            "allowed": self.allowed,
        }

    @classmethod
    def from_json(cls, fields: Fields) -> Agreement:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            reference=fields.text("with"),
            inputs=fields.integer("inputs", 1),
            largest_difference=fields.number("largest_difference"),
            allowed=fields.number("allowed"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredOn:
    """The device of a certificate: the part of its fingerprint that is kept."""

    cpu: str
    threads: int
    runtime_version: str
    runtime: str = ONNXRUNTIME
    cores: int | None = None
    machine: str | None = None
    os: str | None = None
    provider: str = CPU_PROVIDER
    provider_options: Mapping[str, str] = field(default_factory=dict)
    precision: str = FP32

    def __str__(self) -> str:
        provider = "" if is_cpu(self.provider) else f"{self.provider}, "
        return f"{self.cpu}, {self.threads} thread(s), {provider}{self.runtime} {self.runtime_version}"

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        value: dict[str, object] = {
            "cpu": self.cpu,
            "cores": self.cores,
            "machine": self.machine,
            "os": self.os,
            "threads": self.threads,
            "provider": self.provider,
            "provider_options": dict(self.provider_options) or None,
            **version_to_json(self.runtime, self.runtime_version),
            "precision": self.precision,
        }
        return {key: held for key, held in value.items() if held is not None}

    @classmethod
    def from_json(cls, fields: Fields) -> MeasuredOn:
        """From a file's object; raises :class:`RecordError` naming the key."""
        cpu = fields.text("cpu")
        runtime, version = version_from_json(fields)
        return cls(
            cpu=cpu,
            threads=fields.integer("threads", 1),
            runtime=runtime,
            runtime_version=version,
            cores=fields.optional_integer("cores", 1),
            machine=fields.optional_text("machine"),
            os=fields.optional_text("os"),
            provider=fields.optional_text("provider") or CPU_PROVIDER,
            provider_options=fields.text_map("provider_options") if fields.holds("provider_options") else {},
            precision=fields.optional_text("precision") or FP32,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """The prediction and the measurement of a file when it was verified.

    Args:
        graph_sha256: of the file without its metadata.
        metadata_sha256: of its metadata but the certificate: labels, preprocessing, predictions and all
            else; ``None`` in older files, whose certificate is of the graph alone.
        weights_sha256: of the weights it was exported with.
        profile: id of the profile its prediction comes from.
        budget_ms, predicted_ms, bound_ms, confidence: of the prediction.
        measured: the latency.
        measured_on: the device.
        within_budget: true if the measured latency is at most the budget; ``None`` without a budget.
        agreement: as found by the export.
        top1: on images; ``None`` if it was not measured.
    """

    graph_sha256: str
    measured: Measured
    measured_on: MeasuredOn
    weights_sha256: str | None = None
    profile: str | None = None
    budget_ms: float | None = None
    predicted_ms: float | None = None
    bound_ms: float | None = None
    confidence: float | None = None
    within_budget: bool | None = None
    agreement: Agreement | None = None
    top1: Top1 | None = None
    metadata_sha256: str | None = None

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {
            "graph_sha256": self.graph_sha256,
            "metadata_sha256": self.metadata_sha256,
            "weights_sha256": self.weights_sha256,
            "profile": self.profile,
            "budget_ms": self.budget_ms,
            "predicted_ms": self.predicted_ms,
            "bound_ms": self.bound_ms,
            "confidence": self.confidence,
            "measured": self.measured.to_json(),
            "measured_on": self.measured_on.to_json(),
            "within_budget": self.within_budget,
            "agreement": None if self.agreement is None else self.agreement.to_json(),
            "top1": None if self.top1 is None else self.top1.to_json(),
        }

    @classmethod
    def from_json(cls, fields: Fields) -> Certificate:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            graph_sha256=fields.text("graph_sha256"),
            measured=Measured.from_json(fields.fields("measured")),
            measured_on=MeasuredOn.from_json(fields.fields("measured_on")),
            weights_sha256=fields.optional_text("weights_sha256"),
            profile=fields.optional_text("profile"),
            budget_ms=fields.optional_number("budget_ms", positive=True),
            predicted_ms=fields.optional_number("predicted_ms", positive=True),
            bound_ms=fields.optional_number("bound_ms", positive=True),
            confidence=fields.optional_number("confidence"),
            within_budget=fields.optional_boolean("within_budget"),
            agreement=Agreement.from_json(fields.fields("agreement")) if fields.holds("agreement") else None,
            top1=Top1.from_json(fields.fields("top1")) if fields.holds("top1") else None,
            metadata_sha256=fields.optional_text("metadata_sha256"),
        )
