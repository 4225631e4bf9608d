"""Train a supernet of a space on labelled images, and its accuracy predictor on what was held out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy_nas.accuracy.collect import Progress, collect
from deploy_nas.accuracy.evaluate import SubnetEvaluator
from deploy_nas.accuracy.fit import FitSettings, fit_accuracy
from deploy_nas.accuracy.predictor import save_accuracy_predictor
from deploy_nas.adapters import supernets
from deploy_nas.adapters.images import ImageSet
from deploy_nas.core.errors import OptionError
from deploy_nas.core.space import Space
from deploy_nas.records.accuracy import AccuracyHeader, AccuracyWriter, load_accuracy_data
from deploy_nas.records.files import write_json
from deploy_nas.training.sandwich import Elastic, Recipe, Trainer

HELD_OUT = 5000
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
    supernets.save_weights(trainer.net.cpu(), files.weights, half=True, force=True)
    figures = {
        name: round(trainer.accuracy(architecture, held_out.images, held_out.labels), 2)
        for name, architecture in (("smallest", space.smallest()), ("largest", space.largest()))
    }
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
) -> dict[str, Any]:
    """Measure subnets on the held-out images, fit the accuracy predictor, write it; returns its figures."""
    held_out = split(images)[1]
    net = supernets.build_supernet(space)
    weights = supernets.load_weights(net, space, files.weights)
    evaluator = SubnetEvaluator(space, net, held_out)
    header = AccuracyHeader(space=space, weights=weights, images=held_out.digest, image_count=len(held_out))

    def progress(p: Progress) -> None:
        if p.done % 10 == 0 or p.done == p.total:
            log(f"measured {p.done}/{p.total}, {p.remaining_s:.0f} s left")

    files.work.mkdir(parents=True, exist_ok=True)
    measured = files.work / f"accuracy-{weights[:12]}.jsonl"
    with AccuracyWriter(measured, header) as writer:
        collect(
            evaluator.top1_percent,
            space,
            count=subnets,
            rng=np.random.default_rng(seed),
            writer=writer,
            progress=progress,
        )
    data = load_accuracy_data(measured)
    predictor, figures = fit_accuracy(data, FitSettings(seed=seed), log=log)
    save_accuracy_predictor(predictor, files.predictor, force=True)
    return figures.to_json()
