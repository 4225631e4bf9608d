"""A trained supernet: the folder that ``deploy-nas train`` writes, and the file in it that says what it is.

==========================  ==================================================================
``supernet.json``           this record: space, classes, images, how it was trained, how good it is
``supernet.safetensors``    its weights
``accuracy.onnx``           accuracy predictor of its subnets
``accuracy.jsonl``          the subnets that the predictor was fitted to
``work/``                   state of the training, needed only to go on with it
==========================  ==================================================================
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deploy_nas.core.errors import MismatchError, RecordError, UnknownSpaceError
from deploy_nas.core.fields import Fields, check_format
from deploy_nas.core.measured import Top1
from deploy_nas.core.recipe import Recipe
from deploy_nas.core.resources import OwnFile
from deploy_nas.core.seals import check_format_sealed, sealed
from deploy_nas.core.shown import Shown
from deploy_nas.core.space import Architecture, Space
from deploy_nas.core.spaces import get_space, space_ids
from deploy_nas.records.files import read_json, write_json
from deploy_nas.records.model import Provenance

FORMAT = "deploy-nas supernet"
VERSION = 2
_SEALED_SINCE = 2
WORK = "work"
RECORD, WEIGHTS, PREDICTOR, SUBNETS = (
    "supernet.json",
    "supernet.safetensors",
    "accuracy.onnx",
    "accuracy.jsonl",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedOn:
    """The images that a supernet was trained and judged on.

    Args:
        training, validation: number of images.
        counts: training images of each class, in the order of the labels.
        digest, validation_digest: of pixels, labels and class names.
        own_split: whether the validation images were taken out of the training images.
    """

    training: int
    validation: int
    counts: tuple[int, ...]
    digest: str
    validation_digest: str
    own_split: bool

    @classmethod
    def from_json(cls, value: Fields) -> TrainedOn:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            training=value.integer("training", 1),
            validation=value.integer("validation", 1),
            counts=tuple(value.integers("counts")),
            digest=value.text("digest"),
            validation_digest=value.text("validation_digest"),
            own_split=value.boolean("own_split"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LossPoint:
    """A point of the training curve: epochs done, the phase, and the largest subnet's loss there."""

    epoch: float
    phase: str
    loss: float
    elapsed_s: float

    @classmethod
    def from_json(cls, value: Fields) -> LossPoint:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            epoch=value.number("epoch"),
            phase=value.text("phase"),
            loss=value.number("loss"),
            elapsed_s=value.number("elapsed_s"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedSubnet:
    """A subnet measured on the validation images."""

    name: str
    architecture: Architecture
    million_macs: float
    top1: Top1

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {
            "name": self.name,
            "architecture": self.architecture,
            "million_macs": self.million_macs,
            "top1": self.top1.to_json(),
        }

    @classmethod
    def from_json(cls, value: Fields, space: Space) -> JudgedSubnet:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            name=value.text("name"),
            architecture=space.decode(space.encode([value.fields("architecture").value]))[0],
            million_macs=value.number("million_macs", positive=True),
            top1=Top1.from_json(value.fields("top1")),
        )


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SupernetRecord(Shown):
    """A trained supernet.

    Args:
        space: its space, such as ``efficientnet-lite0@10@96+128``.
        labels: of the classes, in the order of the logits.
        weights_sha256: of the weights beside the record.
        started_from: the weights that training began with.
        images: that it was trained on.
        recipes: of each stretch of the training, in order.
        device: it was trained on.
        training_s: time it took, seconds.
        curve: of the training.
        subnets: some subnets as measured on the validation images.
        predictor_sha256: of the accuracy predictor beside the record; ``None``: it is not made yet.
    """

    space: Space
    labels: tuple[str, ...]
    weights_sha256: str
    started_from: Provenance
    images: TrainedOn
    recipes: tuple[Recipe, ...]
    device: str
    training_s: float
    curve: tuple[LossPoint, ...] = ()
    subnets: tuple[JudgedSubnet, ...] = ()
    predictor_sha256: str | None = None

    def _summary(self) -> str:
        return f"{self.space.id}, trained on {self.images.training} images for {self.training_s / 60:.1f} min"

    def to_json(self) -> dict[str, object]:
        """The object in the file."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "space": self.space.id,
            "labels": list(self.labels),
            "weights_sha256": self.weights_sha256,
            "started_from": self.started_from.to_json(),
            "images": {**asdict(self.images), "counts": list(self.images.counts)},
            "recipes": [recipe.to_json() for recipe in self.recipes],
            "device": self.device,
            "training_s": self.training_s,
            "curve": [asdict(point) for point in self.curve],
            "subnets": [subnet.to_json() for subnet in self.subnets],
            "predictor_sha256": self.predictor_sha256,
        }


def parse_supernet(value: Fields) -> SupernetRecord:
    """From a file's object.

    Raises:
        RecordError: an invalid value; names the key.
        VersionError: a newer deploy-nas wrote it.
        UnknownSpaceError: its space is unknown here.
    """
    check_format(value, FORMAT, VERSION)
    check_format_sealed(value, sealed_since=_SEALED_SINCE, hint="restore it, or train again")
    space = get_space(value.text("space"))
    labels = tuple(value.texts("labels"))
    if len(labels) != space.classes or len(set(labels)) != len(labels):
        raise value.wrong("labels", f"{space.classes} different names")
    images = TrainedOn.from_json(value.fields("images"))
    if len(images.counts) != space.classes:
        raise value.fields("images").wrong("counts", f"{space.classes} numbers")
    return SupernetRecord(
        space=space,
        labels=labels,
        weights_sha256=value.text("weights_sha256"),
        started_from=Provenance.from_json(value.fields("started_from")),
        images=images,
        recipes=tuple(Recipe.from_json(recipe) for recipe in value.objects("recipes")),
        device=value.text("device"),
        training_s=value.number("training_s"),
        curve=tuple(LossPoint.from_json(point) for point in value.objects("curve")),
        subnets=tuple(JudgedSubnet.from_json(subnet, space) for subnet in value.objects("subnets")),
        predictor_sha256=value.optional_text("predictor_sha256"),
    )


def save_supernet(record: SupernetRecord, folder: Path) -> None:
    """Write the record into its folder; raises :class:`OutputError`."""
    write_json(folder / RECORD, sealed(record.to_json()), force=True)


def load_supernet_record(folder: Path) -> SupernetRecord:
    """The record of a folder that ``deploy-nas train`` wrote.

    Raises:
        RecordError: the folder holds no supernet, or its record is invalid.
        VersionError, UnknownSpaceError: see :func:`parse_supernet`.
    """
    if not (folder / RECORD).is_file():
        raise RecordError(
            f"holds no {RECORD}", subject=str(folder), hint="name a folder that `deploy-nas train` finished"
        )
    return parse_supernet(read_json(folder / RECORD))


def is_supernet(source: str | Path) -> bool:
    """Whether this is the folder of a trained supernet."""
    return (Path(source) / RECORD).is_file()


def supernet_space(folder: Path) -> Space:
    """The space of a trained supernet, with its labels, weights and accuracy predictor.

    Raises:
        RecordError, VersionError, UnknownSpaceError: see :func:`load_supernet_record`.
    """
    record = load_supernet_record(folder)
    predictor = None
    if record.predictor_sha256 is not None:
        predictor = OwnFile(path=folder / PREDICTOR, sha256=record.predictor_sha256)
    return replace(
        record.space,
        labels=record.labels,
        default_weights=OwnFile(path=folder / WEIGHTS, sha256=record.weights_sha256),
        default_predictor=predictor,
    )


def space_named(source: str) -> Space:
    """A space by its id, or by the folder of a trained supernet.

    Raises:
        UnknownSpaceError: neither.
        RecordError, VersionError: see :func:`load_supernet_record`.
    """
    folder = Path(source)
    if source not in space_ids() and (folder.is_dir() or os.sep in source):
        if not folder.is_dir():
            raise UnknownSpaceError("there is no such folder of a supernet", subject=source)
        return supernet_space(folder)
    return get_space(source)


def of_same_id(source: str | None, space: Space) -> Space:
    """``space``, or the supernet named by ``source``, which must be of that very space.

    Raises:
        MismatchError: it is of another space.
    """
    if source is None:
        return space
    found = space_named(source)
    if found.id != space.id:
        raise MismatchError(f"is of space {found.id}, not {space.id}", subject=source)
    return found
