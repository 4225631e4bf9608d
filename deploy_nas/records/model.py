"""The metadata of an exported model as values.

``adapters.graphs`` reads and writes the strings in the file; they are parsed here, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.precision import FP32
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.space import Architecture, Space, image_size_of
from deploy_nas.records.architecture import ArchitectureRecord, parse_architecture
from deploy_nas.records.certificate import Agreement, Certificate

UNTRAINED = "UNTRAINED"
MODEL_LICENSE = "model_license"
"""The key that ONNX has for the licence of a model; here it is that of the weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """The origin of weights.

    Args:
        source: "embedded", "pretrained", "random", or the checkpoint's file name.
        sha256: of the file's bytes as they were loaded; ``None`` for random weights.
        trained: false for random weights.
        seed: of random weights.
        recalibrated: images the batch-norm statistics were re-estimated on; 0: as loaded.
        taken: what was taken from the file, where it held more than the weights; empty: all of it.
        licence: its SPDX name, where those who published the weights state one; else empty.
    """

    source: str
    sha256: str | None
    trained: bool
    seed: int | None = None
    recalibrated: int = 0
    taken: str = ""
    licence: str = ""

    def to_json(self) -> dict[str, object]:
        """The object in files; for random weights with the warning UNTRAINED."""
        value: dict[str, object] = {
            "source": self.source,
            "sha256": self.sha256,
            "trained": self.trained,
            "recalibrated": self.recalibrated,
        }
        if self.taken:
            value["taken"] = self.taken
        if self.licence:
            value["licence"] = self.licence
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
            taken=fields.optional_text("taken") or "",
            licence=fields.optional_text("licence") or "",
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

    @property
    def described(self) -> str:
        """The file in words, for programs that show models."""
        side, weights = self.image_size, self.weights
        said = [
            f"Image classifier: a subnet of {self.space.id}, {self.precision}.",
            f"Input: float32 [batch, 3, {side}, {side}], RGB from 0 to 1, normalised as the metadata "
            "'preprocessing' says.",
            f"Output: {self.space.classes} logits.",
        ]
        if weights is not None:
            licence = f" ({weights.licence})" if weights.licence else ""
            said.append(f"Weights: {weights.source if weights.trained else UNTRAINED}{licence}.")
        return " ".join(said)

    def prepared_as(self, subject: str) -> Preprocessing:
        """The preprocessing of its images; raises :class:`RecordError` if the file does not name it."""
        if self.preprocessing is None:
            raise RecordError("does not say how its images are preprocessed", subject=subject)
        return self.preprocessing

    def to_json(self) -> dict[str, object]:
        """Key to JSON value, as the file holds them."""
        licence = "" if self.weights is None else self.weights.licence
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
            **({MODEL_LICENSE: licence} if licence else {}),
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
