"""The metadata of an exported model as values.

``adapters.graphs`` reads and writes the strings in the file; they are parsed here, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.fingerprint import CPU_PROVIDER, ONNXRUNTIME
from deploy_nas.core.measured import Measured, Top1
from deploy_nas.core.precision import FP32
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.space import Architecture, Space, image_size_of
from deploy_nas.records.architecture import ArchitectureRecord, parse_architecture

UNTRAINED = "UNTRAINED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """The origin of weights.

    Args:
        source: "embedded", "pretrained", "random", or the checkpoint's file name.
        sha256: of the file's bytes as they were loaded; ``None`` for random weights.
        trained: false for random weights.
        seed: of random weights.
        recalibrated: images the batch-norm statistics were re-estimated on; 0: as loaded.
    """

    source: str
    sha256: str | None
    trained: bool
    seed: int | None = None
    recalibrated: int = 0

    def to_json(self) -> dict[str, object]:
        """The object in files; for random weights with the warning UNTRAINED."""
        value: dict[str, object] = {
            "source": self.source,
            "sha256": self.sha256,
            "trained": self.trained,
            "recalibrated": self.recalibrated,
        }
        return value if self.trained else {**value, "seed": self.seed, "warning": UNTRAINED}

    @classmethod
    def from_json(cls, fields: Fields) -> Provenance:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            source=fields.text("source"),
            sha256=fields.optional_text("sha256"),
            trained=fields.boolean("trained"),
            seed=fields.optional_integer("seed", 0),
            recalibrated=fields.optional_integer("recalibrated", 0) or 0,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """Preprocessing from an image to the network's input: centre square, resized, scaled to 0..1, normalised.

    Args:
        image_size: side, pixels.
        mean, std: per channel, of pixels scaled to 0..1.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {
            "image_size": self.image_size,
            "mean": list(self.mean),
            "std": list(self.std),
            "layout": "NCHW",
            "scale": "0..1",
            "resize": "bilinear",
        }

    @classmethod
    def from_json(cls, fields: Fields) -> Preprocessing:
        """From a file's object; raises :class:`RecordError` naming the key."""
        mean, std = fields.numbers("mean"), fields.numbers("std", positive=True)
        if not len(mean) == len(std) == 3:
            raise RecordError("must have three channels", subject=fields.where)
        for key, known in (("layout", "NCHW"), ("scale", "0..1"), ("resize", "bilinear")):
            if fields.holds(key) and fields.text(key) != known:
                raise fields.wrong(key, repr(known))
        return cls(image_size=fields.integer("image_size", 1), mean=tuple(mean), std=tuple(std))


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
class Quantization:
    """The quantisation of an INT8 file.

    Args:
        activations, weights: their number formats, in words.
        weight_bits: bits per weight.
        chosen_for: the instructions the formats were chosen for.
        calibration_images: number of images that the ranges come from.
        ranges: the method that gave them, in words.
    """

    activations: str
    weights: str
    weight_bits: int
    chosen_for: str
    calibration_images: int | None = None
    ranges: str | None = None

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        value: dict[str, object] = {
            "format": "QDQ",
            "activations": self.activations,
            "weights": self.weights,
            "weight_bits": self.weight_bits,
            "chosen_for": self.chosen_for,
        }
        if self.calibration_images is not None:
            value |= {"calibration_images": self.calibration_images, "ranges": self.ranges}
        return value

    @classmethod
    def from_json(cls, fields: Fields) -> Quantization:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            activations=fields.optional_text("activations") or "",
            weights=fields.optional_text("weights") or "",
            weight_bits=fields.integer("weight_bits", 1, 8),
            chosen_for=fields.optional_text("chosen_for") or "",
            calibration_images=fields.optional_integer("calibration_images", 1),
            ranges=fields.optional_text("ranges"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredOn:
    """The device of a certificate: the part of its fingerprint that is kept."""

    cpu: str
    threads: int
    runtime_version: str
    cores: int | None = None
    machine: str | None = None
    os: str | None = None
    provider: str = CPU_PROVIDER
    provider_options: Mapping[str, str] = field(default_factory=dict)
    precision: str = FP32

    def __str__(self) -> str:
        provider = "" if self.provider == CPU_PROVIDER else f"{self.provider}, "
        return f"{self.cpu}, {self.threads} thread(s), {provider}{ONNXRUNTIME} {self.runtime_version}"

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
            ONNXRUNTIME: self.runtime_version,
            "precision": self.precision,
        }
        return {key: held for key, held in value.items() if held is not None}

    @classmethod
    def from_json(cls, fields: Fields) -> MeasuredOn:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            cpu=fields.text("cpu"),
            threads=fields.integer("threads", 1),
            runtime_version=fields.text(ONNXRUNTIME),
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

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {
            "graph_sha256": self.graph_sha256,
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
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelMetadata:
    """The metadata of an exported model.

    Args:
        space, architecture: the space, and the subnet of it.
        predicted: its predictions.
        profile: id of the profile the prediction comes from.
        labels: of the classes, in the order of the logits; empty if the file does not name them.
        preprocessing: of its images; ``None`` if the file does not name it.
        weights: their origin; ``None`` if the file does not name it.
        precision: "fp32" or "int8".
        opset: of the default ONNX domain.
        agreement: with the network it was exported from.
        quantization: of an INT8 file.
        certificate: of the last verification.
    """

    space: Space
    architecture: Architecture
    predicted: Predicted = field(default_factory=Predicted)
    profile: str | None = None
    labels: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    weights: Provenance | None = None
    precision: str = FP32
    opset: int | None = None
    agreement: Agreement | None = None
    quantization: Quantization | None = None
    certificate: Certificate | None = None

    @property
    def record(self) -> ArchitectureRecord:
        """The architecture with its predictions."""
        return ArchitectureRecord(space=self.space, architecture=self.architecture, predicted=self.predicted)

    @property
    def image_size(self) -> int:
        """Side of its images, pixels."""
        return image_size_of(self.architecture)

    @property
    def trained(self) -> bool:
        """True unless the file says that its weights are random."""
        return self.weights is None or self.weights.trained

    def prepared_as(self, subject: str) -> Preprocessing:
        """The preprocessing of its images; raises :class:`RecordError` if the file does not name it."""
        if self.preprocessing is None:
            raise RecordError("does not say how its images are preprocessed", subject=subject)
        return self.preprocessing

    def to_json(self) -> dict[str, object]:
        """Key to JSON value, as the file holds them."""
        return {
            "architecture": {"space": self.space.id, **self.architecture},
            "space": self.space.id,
            "predicted": self.predicted.to_json(),
            "profile": self.profile,
            "labels": list(self.labels),
            "preprocessing": None if self.preprocessing is None else self.preprocessing.to_json(),
            "opset": self.opset,
            "precision": self.precision,
            "weights": None if self.weights is None else self.weights.to_json(),
            "agreement": None if self.agreement is None else self.agreement.to_json(),
            "quantization": None if self.quantization is None else self.quantization.to_json(),
            "certificate": None if self.certificate is None else self.certificate.to_json(),
        }


def parse_model(value: Mapping[str, object], subject: str) -> ModelMetadata:
    """The metadata of an exported model.

    Args:
        value: key to JSON value, as read from the file.
        subject: names the file in errors.

    Raises:
        MismatchError: a file that was not exported by deploy-nas.
        RecordError, ArchitectureError, UnknownSpaceError: an invalid value; names the key.
    """
    if not isinstance(value.get("architecture"), dict):
        raise MismatchError("was not exported by deploy-nas: its architecture is missing", subject=subject)
    fields = Fields(dict(value), subject)
    inner = {"space": value.get("space"), **fields.fields("architecture").value}
    record = parse_architecture(Fields(inner, f"{subject}: architecture"))
    return ModelMetadata(
        space=record.space,
        architecture=record.architecture,
        predicted=Predicted.from_json(fields.fields("predicted"))
        if fields.holds("predicted")
        else Predicted(),
        profile=fields.optional_text("profile"),
        labels=tuple(fields.texts("labels")) if fields.holds("labels") else (),
        preprocessing=_preprocessing(fields, record),
        weights=Provenance.from_json(fields.fields("weights")) if fields.value.get("weights") else None,
        precision=fields.optional_text("precision") or FP32,
        opset=fields.optional_integer("opset", 1),
        agreement=Agreement.from_json(fields.fields("agreement")) if fields.holds("agreement") else None,
        quantization=Quantization.from_json(fields.fields("quantization"))
        if fields.holds("quantization")
        else None,
        certificate=Certificate.from_json(fields.fields("certificate"))
        if fields.holds("certificate")
        else None,
    )


def _preprocessing(fields: Fields, record: ArchitectureRecord) -> Preprocessing | None:
    if not fields.holds("preprocessing"):
        return None
    found = Preprocessing.from_json(fields.fields("preprocessing"))
    if found.image_size != record.image_size:
        raise MismatchError(
            f"prepares images of {found.image_size} px, its architecture takes {record.image_size}",
            subject=fields.where,
            hint="it was changed after it was exported; export it again",
        )
    return found
