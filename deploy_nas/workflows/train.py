"""Train a supernet of a space on labelled images, and its accuracy predictor on held-out images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deploy_nas.accuracy.collect import Progress
from deploy_nas.accuracy.evaluate import SubnetEvaluator
from deploy_nas.accuracy.fit import FitSettings, fit_accuracy
from deploy_nas.accuracy.heldout import held_out_figures
from deploy_nas.accuracy.predictor import AccuracyPredictor, load_accuracy_predictor
from deploy_nas.adapters import supernets
from deploy_nas.adapters.images import ImageSet, at_sizes, with_mirrored
from deploy_nas.core.errors import ImagesError, MismatchError, OptionError
from deploy_nas.core.space import Space
from deploy_nas.records.accuracy import load_accuracy_data
from deploy_nas.records.files import check_output, read_json, write_atomic, write_json
from deploy_nas.training.passes import Elastic
from deploy_nas.training.sandwich import Recipe, Trainer
from deploy_nas.training.teacher import teacher_net
from deploy_nas.workflows.accuracy import fit_file, measure_subnets, promised_points

HELD_OUT = 5000
HELD_OUT_SUBNETS = 200
# Subnets rated best by each fit that are measured for the next; of the last fit's, those only to judge it.
BEST = (80, 80, 80, 80)
JUDGED = 40
_SPLIT_SEED = 20261124
# Files that the teacher or a stretch leaves in its folder.
_WEIGHTS = "weights.safetensors"
_RECORD = "stretch.json"


# A teacher, then stretches, each started from the weights of the previous one.
TEACHER = Recipe(
    largest_epochs=40,
    sandwich_epochs=0,
    decay_epochs=38,
    frozen_steps=0,
    batch_size=512,
    peak_lr=0.3,
    weight_decay=5e-4,
    label_smoothing=0.0,
    warmup_steps=176,
)
STRETCHES = (
    Recipe(
        largest_epochs=20,
        sandwich_epochs=120,
        decay_epochs=110,
        frozen_steps=1000,
        batch_size=512,
        peak_lr=0.4,
        muon_lr=0.06,
        warmup_steps=250,
    ),
    # Statistics are gathered again and the weights tuned to them; docs/notes/embedded.md explains why.
    Recipe(largest_epochs=0, sandwich_epochs=0, decay_epochs=0, frozen_steps=400, frozen_lr=0.006, seed=1),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """The files of a training run: ``work`` is the folder it resumes from, the rest are results."""

    work: Path
    weights: Path
    predictor: Path
    summary: Path


def split(images: ImageSet, held_out: int = HELD_OUT) -> tuple[ImageSet, ImageSet]:
    """Images to train on, and ``held_out`` others to measure accuracy on; always the same split."""
    if not 0 < held_out < len(images):
        raise ImagesError(
            f"{len(images)} images, but {held_out} are held out and more are needed", subject=images.source
        )
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(images))
    return images.take(order[held_out:]), images.take(order[:held_out])


def elastic(space: Space, seed: int, start: Path | None = None) -> Elastic:
    """The space's supernet for the trainer, with random weights or those of ``start``."""
    net = supernets.build_supernet(space, seed=seed)
    if start is not None:
        supernets.load_weights(net, space, start)
    supernets.use_torch_activations(net)
    return Elastic(
        net=net,
        activate=lambda architecture: supernets.activate(net, architecture),
        sample=space.sample,
        smallest=space.smallest(),
        largest=space.largest(),
        image_sizes=space.image_sizes,
        masked=supernets.Masked(net, space.largest()) if supernets.Masked.fits(net) else None,
    )


def teacher_of(space: Space, seed: int) -> Elastic:
    """The teacher with random weights, as a net with a single subnet."""
    only = {"image_size": max(space.image_sizes)}
    return Elastic.of_one(teacher_net(space.classes, seed=seed), only)


def load_teacher(space: Space, path: Path) -> Any:
    """The teacher with the weights of a file, a module; raises :class:`WeightsError`."""
    net = teacher_of(space, 0).net
    supernets.load_weights(net, space, path)
    return net


def train_supernet(
    space: Space,
    images: ImageSet,
    files: Files,
    log: Callable[[str], None],
    stretches: Sequence[Recipe] = STRETCHES,
    teacher: Recipe | None = TEACHER,
) -> dict[str, Any]:
    """Train, or resume training, and write the weights; returns the summary's figures.

    A teacher or stretch with weights and a record in ``files.work`` is not trained again.

    Raises:
        MismatchError: ``files.work`` holds a run of another recipe, or of other weights or images.
        RecordError: a file there is damaged.
        ImagesError: too few images, not square, or of another number of classes than the space.
        OutputError: a result could not be written; raised before any training.
    """
    for output in (files.weights, files.summary):
        check_output(output, force=True)
    check_images(space, images)
    training, held_out = split(images)
    data = _Data(space=space, training=training, held_out=held_out)
    summary: dict[str, Any] = {
        "space": space.id,
        "training_images": len(training),
        "held_out_images": len(held_out),
    }
    taught_by = None
    if teacher is not None:
        log("teacher")
        begun_with = origin(training)
        taught_by = files.work / "teacher" / _WEIGHTS
        summary["teacher"] = _stage(
            taught_by.parent, teacher, begun_with, lambda: teacher_of(space, teacher.seed), data, log
        )
    records: list[dict[str, Any]] = []
    weights = None
    for number, recipe in enumerate(stretches, 1):
        log(f"stretch {number} of {len(stretches)}")
        start, weights = weights, files.work / f"stretch-{number}" / _WEIGHTS
        begun_with = origin(training, start, taught_by)
        net = partial(elastic, space, recipe.seed, start)
        records.append(_stage(weights.parent, recipe, begun_with, net, data, log, taught_by))
    if weights is None:
        raise OptionError("must name at least one recipe", subject="stretches")
    write_atomic(files.weights, weights.read_bytes(), force=True)
    parts = [summary["teacher"], *records] if "teacher" in summary else records
    summary |= {
        "training_s": sum(r["training_s"] for r in parts),
        "held_out_top1_percent": records[-1]["held_out_top1_percent"],
        "stretches": records,
    }
    write_json(files.summary, summary, force=True)
    return summary


def check_images(space: Space, images: ImageSet) -> None:
    """Raise :class:`ImagesError` unless these are square images of the space's number of classes."""
    if len(images.classes) != space.classes:
        raise ImagesError(
            f"{len(images.classes)} class folders, {space.id} has {space.classes} classes",
            subject=images.source,
        )
    height, width = images.images.shape[2:]
    if height != width:
        raise ImagesError(f"are {width}x{height} pixels, but must be square", subject=images.source)


def origin(
    training: ImageSet, start: Path | None = None, teacher: Path | None = None
) -> dict[str, str | None]:
    """The starting point of a training, as its record and its checkpoint keep it."""
    return {
        "started_from_sha256": supernets.weights_hash(start) if start is not None else None,
        "taught_by_sha256": supernets.weights_hash(teacher) if teacher is not None else None,
        "training_images": training.digest,
    }


def _finished(record: Path, recipe: Recipe, begun_with: Mapping[str, str | None]) -> bool:
    """True if the record is of this recipe.

    Raises:
        MismatchError: it started from something else, and so belongs to another run.
    """
    if not record.exists():
        return False
    facts = read_json(record).value
    # Older records do not name their images.
    if any(facts.get(key, value) != value for key, value in begun_with.items()):
        raise MismatchError(
            "was started with other weights or images, or another teacher",
            subject=str(record),
            hint="remove that folder, or name another work folder",
        )
    return bool(facts.get("recipe") == asdict(recipe))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Data:
    """The data that all stages share."""

    space: Space
    training: ImageSet
    held_out: ImageSet


def _stage(
    folder: Path,
    recipe: Recipe,
    begun_with: Mapping[str, str | None],
    build: Callable[[], Elastic],
    data: _Data,
    log: Callable[[str], None],
    teacher: Path | None = None,
) -> dict[str, Any]:
    """The record of a stage, which is first trained from its checkpoint if it is not finished."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, record = folder / _WEIGHTS, folder / _RECORD
    if not (weights.exists() and _finished(record, recipe, begun_with)):
        net = build()
        trainer = Trainer(
            net,
            data.training.images,
            data.training.labels,
            mean=data.space.mean,
            std=data.space.std,
            recipe=recipe,
            checkpoint=folder / "checkpoint.pt",
            origin=json.dumps(begun_with),
            log=log,
            teacher=load_teacher(data.space, teacher) if teacher is not None else None,
        )
        trainer.run()

        def top1_percent(architecture: dict[str, Any]) -> float:
            return round(trainer.accuracy(architecture, data.held_out.images, data.held_out.labels), 2)

        smallest = top1_percent(net.smallest)
        largest = smallest if net.largest == net.smallest else top1_percent(net.largest)
        supernets.save_weights(net.net.cpu(), weights, half=True, force=True)
        facts: dict[str, object] = {
            **begun_with,
            "recipe": asdict(recipe),
            "steps": trainer.phase_steps,
            "device": trainer.device_name,
            "training_s": round(trainer.elapsed_s),
            "held_out_top1_percent": {"smallest": smallest, "largest": largest},
        }
        write_json(record, facts, force=True)
    facts = read_json(record).value
    log(json.dumps(facts["held_out_top1_percent"]))
    return facts


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
    best: Sequence[int] = BEST,
    judged: int = JUDGED,
) -> dict[str, Any]:
    """Measure subnets on the held-out images, fit the accuracy predictor, write it; returns its figures.

    The first ``subnets`` are drawn broadly; the next ``best[0]`` are those that a fit to these rates best,
    and so on. ``judged`` of the last fit's best are measured only to judge it. Mirrored images are used too,
    for less noise. The measured subnets and the calibration plot are kept in ``files.work``.
    """
    check_output(files.predictor, force=True)
    net = supernets.build_supernet(space)
    weights = supernets.load_weights(net, space, files.weights)
    files.work.mkdir(parents=True, exist_ok=True)
    measured = files.work / f"accuracy-{weights[:12]}.jsonl"
    held_out = SubnetEvaluator(space, net, at_sizes(with_mirrored(split(images)[1]), space.image_sizes))

    def progress(p: Progress) -> None:
        if p.done % 10 == 0 or p.done == p.total:
            log(f"measured {p.done}/{p.total}, {p.remaining_s:.0f} s left")

    def measure(path: Path, count: int, seed: int, of: AccuracyPredictor | None = None) -> None:
        best_by = of.percent_encoded if of is not None else None
        measure_subnets(
            held_out,
            weights,
            path,
            count=count,
            seed=seed,
            workers=workers,
            best_by=best_by,
            progress=progress,
        )

    def settings(total: int) -> FitSettings:
        return replace(fit or FitSettings(), seed=seed, held_out=min(0.5, HELD_OUT_SUBNETS / total))

    measure(measured, subnets, seed)
    total = subnets
    for turn, more in enumerate(best, start=1):
        data = load_accuracy_data(measured)
        if len(data) < total + more:
            # Not fitted to everything in the file: a resumed run would use another predictor.
            predictor, _ = fit_accuracy(data.first(total), settings(total), log=log)
            measure(measured, total + more, seed + turn, predictor)
            promised = promised_points(predictor, load_accuracy_data(measured).last(more))
            log(f"best {more}: predicted minus measured {promised:+.2f} points on average")
        total += more
    plot = files.work / "accuracy.svg"
    figures = fit_file(measured, files.predictor, settings(total), plot=plot, force=True, log=log).to_json()
    if judged:
        predictor = load_accuracy_predictor(space, files.predictor)
        name = hashlib.sha256(files.predictor.read_bytes()).hexdigest()[:12]
        measure(files.work / f"best-{name}.jsonl", judged, seed + len(best) + 1, predictor)
        data = load_accuracy_data(files.work / f"best-{name}.jsonl")
        figures["of_the_best"] = {
            "subnets": len(data),
            "promised_points": round(promised_points(predictor, data), 3),
            "mae_points": round(held_out_figures(predictor, data).mae_points, 3),
        }
    return figures
