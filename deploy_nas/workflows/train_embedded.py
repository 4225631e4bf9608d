"""Train a supernet of a space on labelled images, and its accuracy predictor on what was held out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deploy_nas.accuracy.collect import Progress
from deploy_nas.accuracy.evaluate import SubnetEvaluator
from deploy_nas.accuracy.fit import FitSettings
from deploy_nas.adapters import supernets
from deploy_nas.adapters.images import ImageSet, at_sizes, with_mirrored
from deploy_nas.core.errors import ImagesError, MismatchError, OptionError
from deploy_nas.core.space import Space
from deploy_nas.records.files import check_output, read_json, write_atomic, write_json
from deploy_nas.training.sandwich import Elastic, Recipe, Trainer
from deploy_nas.workflows.train_accuracy import fit_file, measure_subnets

HELD_OUT = 5000
HELD_OUT_SUBNETS = 200
_SPLIT_SEED = 20261124
# What a stretch leaves in its folder.
_WEIGHTS = "weights.safetensors"
_RECORD = "stretch.json"


# The recipe of the shipped weights: every stretch begins with the weights of the one before.
STRETCHES = (
    Recipe(largest_epochs=16, sandwich_epochs=20, decay_epochs=10, seed=0),
    # The largest subnet is the teacher, and the furthest from what it could be.
    Recipe(largest_epochs=6462 / 352, sandwich_epochs=0, decay_epochs=0, frozen_steps=0, seed=1),
    Recipe(largest_epochs=0, sandwich_epochs=19, decay_epochs=14, seed=2),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """Where a training run keeps its things: ``work`` for what it goes on from, the rest are results."""

    work: Path
    weights: Path
    predictor: Path
    summary: Path


def split(images: ImageSet, held_out: int = HELD_OUT) -> tuple[ImageSet, ImageSet]:
    """Images to train on, and ``held_out`` others for accuracies; always the same ones."""
    if not 0 < held_out < len(images):
        raise ImagesError(
            f"{len(images)} images, more than the {held_out} held out are needed", subject=images.source
        )
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(images))
    return images.take(order[held_out:]), images.take(order[:held_out])


def elastic(space: Space, seed: int, start: Path | None = None) -> Elastic:
    """The space's supernet as the trainer needs it, with random weights or those of ``start``."""
    net = supernets.build_supernet(space, seed=seed)
    if start is not None:
        supernets.load_weights(net, space, start)
    supernets.fuse_activations(net)
    return Elastic(
        net=net,
        activate=lambda architecture: supernets.activate(net, architecture),
        sample=space.sample,
        smallest=space.smallest(),
        largest=space.largest(),
        image_sizes=space.image_sizes,
    )


def train_supernet(
    space: Space,
    images: ImageSet,
    files: Files,
    log: Callable[[str], None],
    stretches: Sequence[Recipe] = STRETCHES,
) -> dict[str, Any]:
    """Train, or go on training, and write the weights; returns the summary's figures.

    A stretch whose weights and record lie in ``files.work`` is not trained again.

    Raises:
        MismatchError: what lies in ``files.work`` is of another recipe, or of other weights or images.
        RecordError: it is damaged.
        ImagesError: too few images, not square, or of another number of classes than the space.
        OutputError: a result could not be written; said before any training.
    """
    for output in (files.weights, files.summary):
        check_output(output, force=True)
    check_images(space, images)
    training, held_out = split(images)
    records: list[dict[str, Any]] = []
    weights = None
    for number, recipe in enumerate(stretches, 1):
        log(f"stretch {number} of {len(stretches)}")
        folder = files.work / f"stretch-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        start, weights, record = weights, folder / _WEIGHTS, folder / _RECORD
        if not (weights.exists() and _finished(record, recipe, origin(training, start))):
            _train_stretch(space, training, held_out, start, recipe, folder, log)
        records.append(dict(read_json(record).value))
        log(json.dumps(records[-1]["held_out_top1_percent"]))
    if weights is None:
        raise OptionError("there is none", subject="stretches")
    write_atomic(files.weights, weights.read_bytes(), force=True)
    summary = {
        "space": space.id,
        "training_images": len(training),
        "held_out_images": len(held_out),
        "training_s": sum(r["training_s"] for r in records),
        "held_out_top1_percent": records[-1]["held_out_top1_percent"],
        "stretches": records,
    }
    write_json(files.summary, summary, force=True)
    return summary


def check_images(space: Space, images: ImageSet) -> None:
    """Raise :class:`ImagesError` unless these are square images of as many classes as the space has."""
    if len(images.classes) != space.classes:
        raise ImagesError(
            f"{len(images.classes)} class folders, {space.id} has {space.classes} classes",
            subject=images.source,
        )
    height, width = images.images.shape[2:]
    if height != width:
        raise ImagesError(f"are {width}x{height} pixels, square ones are needed", subject=images.source)


def origin(training: ImageSet, start: Path | None) -> dict[str, str | None]:
    """What a stretch begins with, as its record and its checkpoint keep it."""
    return {
        "started_from_sha256": supernets.weights_hash(start) if start is not None else None,
        "training_images": training.digest,
    }


def _finished(record: Path, recipe: Recipe, begun_with: Mapping[str, str | None]) -> bool:
    """Whether the record is of this recipe; one that began with something else is no step of this run."""
    if not record.exists():
        return False
    facts = read_json(record).value
    # A record from before images were written down may be of any.
    if any(facts.get(key, value) != value for key, value in begun_with.items()):
        raise MismatchError(
            "began with other weights or images",
            subject=str(record),
            hint="remove that folder, or name another work folder",
        )
    return bool(facts.get("recipe") == asdict(recipe))


def _train_stretch(
    space: Space,
    training: ImageSet,
    held_out: ImageSet,
    start: Path | None,
    recipe: Recipe,
    folder: Path,
    log: Callable[[str], None],
) -> None:
    """One stretch, from its checkpoint where there is one; writes its weights, then its record."""
    trainer = Trainer(
        elastic(space, recipe.seed, start),
        training.images,
        training.labels,
        mean=space.mean,
        std=space.std,
        recipe=recipe,
        checkpoint=folder / "checkpoint.pt",
        origin=json.dumps(origin(training, start)),
        log=log,
    )
    trainer.run()
    figures = {
        name: round(trainer.accuracy(architecture, held_out.images, held_out.labels), 2)
        for name, architecture in (("smallest", space.smallest()), ("largest", space.largest()))
    }
    supernets.save_weights(trainer.net.cpu(), folder / _WEIGHTS, half=True, force=True)
    facts = {
        **origin(training, start),
        "recipe": asdict(recipe),
        "steps": trainer.phase_steps,
        "device": str(trainer.device),
        "training_s": round(trainer.elapsed_s),
        "held_out_top1_percent": figures,
    }
    write_json(folder / _RECORD, facts, force=True)


def train_predictor(
    space: Space,
    images: ImageSet,
    files: Files,
    *,
    subnets: int,
    seed: int,
    log: Callable[[str], None],
    workers: int | None = None,
    fit: FitSettings | None = None,
) -> dict[str, Any]:
    """Measure subnets on the held-out images, fit the accuracy predictor, write it; returns its figures.

    The images' mirror images are used too: less noise for the same images. The measured subnets and
    the calibration plot are kept in ``files.work``.
    """
    check_output(files.predictor, force=True)
    net = supernets.build_supernet(space)
    weights = supernets.load_weights(net, space, files.weights)
    files.work.mkdir(parents=True, exist_ok=True)
    measured = files.work / f"accuracy-{weights[:12]}.jsonl"

    def progress(p: Progress) -> None:
        if p.done % 10 == 0 or p.done == p.total:
            log(f"measured {p.done}/{p.total}, {p.remaining_s:.0f} s left")

    measure_subnets(
        SubnetEvaluator(space, net, at_sizes(with_mirrored(split(images)[1]), space.image_sizes)),
        weights,
        measured,
        count=subnets,
        seed=seed,
        workers=workers,
        progress=progress,
    )
    settings = replace(fit or FitSettings(), seed=seed, held_out=min(0.5, HELD_OUT_SUBNETS / subnets))
    plot = files.work / "accuracy.svg"
    figures = fit_file(measured, files.predictor, settings, plot=plot, force=True, log=log)
    return figures.to_json()
