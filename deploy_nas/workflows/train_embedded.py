"""Train a supernet of a space on labelled images, and its accuracy predictor on what was held out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deploy_nas.accuracy.collect import Progress
from deploy_nas.accuracy.evaluate import SubnetEvaluator
from deploy_nas.accuracy.fit import FitSettings
from deploy_nas.adapters import supernets
from deploy_nas.adapters.images import ImageSet, with_mirrored
from deploy_nas.core.errors import OptionError
from deploy_nas.core.space import Space
from deploy_nas.records.files import write_json
from deploy_nas.training.sandwich import Elastic, Recipe, Trainer
from deploy_nas.workflows.train_accuracy import fit_file, measure_subnets

HELD_OUT = 5000
HELD_OUT_SUBNETS = 200
_SPLIT_SEED = 20261124


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """Where a training run keeps its things: ``work`` for what it goes on from, the rest are results.

    ``start`` are weights to begin with instead of random ones.
    """

    work: Path
    weights: Path
    predictor: Path
    summary: Path
    start: Path | None = None


def split(images: ImageSet, held_out: int = HELD_OUT) -> tuple[ImageSet, ImageSet]:
    """Images to train on, and ``held_out`` others for accuracies; always the same ones."""
    if not 0 < held_out < len(images):
        raise OptionError(f"must be below the {len(images)} images there are", subject="held_out")
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
    space: Space, images: ImageSet, files: Files, recipe: Recipe, log: Callable[[str], None]
) -> dict[str, Any]:
    """Train, or go on training, and write the weights; returns the summary's figures."""
    started_from = supernets.weights_hash(files.start) if files.start is not None else None
    training, held_out = split(images)
    files.work.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        elastic(space, recipe.seed, files.start),
        training.images,
        training.labels,
        mean=space.mean,
        std=space.std,
        recipe=recipe,
        checkpoint=files.work / "checkpoint.pt",
        log=log,
    )
    trainer.run()
    figures = {
        name: round(trainer.accuracy(architecture, held_out.images, held_out.labels), 2)
        for name, architecture in (("smallest", space.smallest()), ("largest", space.largest()))
    }
    supernets.save_weights(trainer.net.cpu(), files.weights, half=True, force=True)
    summary = {
        "space": space.id,
        "started_from_sha256": started_from,
        "recipe": asdict(recipe),
        "steps": trainer.phase_steps,
        "device": str(trainer.device),
        "training_s": round(trainer.elapsed_s),
        "training_images": len(training),
        "held_out_images": len(held_out),
        "held_out_top1_percent": figures,
    }
    write_json(files.summary, summary, force=True)
    log(json.dumps(figures))
    return summary


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
    net = supernets.build_supernet(space)
    weights = supernets.load_weights(net, space, files.weights)
    files.work.mkdir(parents=True, exist_ok=True)
    measured = files.work / f"accuracy-{weights[:12]}.jsonl"

    def progress(p: Progress) -> None:
        if p.done % 10 == 0 or p.done == p.total:
            log(f"measured {p.done}/{p.total}, {p.remaining_s:.0f} s left")

    measure_subnets(
        SubnetEvaluator(space, net, with_mirrored(split(images)[1])),
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
