"""An accuracy predictor for anyone's supernet: measure its subnets on your images, fit, judge, save."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy_nas.accuracy.collect import Progress, collect
from deploy_nas.accuracy.evaluate import SubnetEvaluator
from deploy_nas.accuracy.fit import FitSettings, HeldOut, fit_accuracy
from deploy_nas.accuracy.predictor import save_accuracy_predictor
from deploy_nas.adapters.images import load_images
from deploy_nas.core.errors import WeightsError
from deploy_nas.core.spaces import get_space
from deploy_nas.deploy.weights import load_supernet
from deploy_nas.records.accuracy import AccuracyHeader, AccuracyWriter, load_accuracy_data
from deploy_nas.records.files import check_output


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectRequest:
    """Which subnets to measure on which images. ``calibration`` recalibrates batch norm for each subnet."""

    space: str
    images: Path
    output: Path
    weights: str | None = None
    calibration: Path | None = None
    calibration_limit: int = 2000
    limit_per_class: int | None = None
    count: int = 300
    seed: int = 0


def collect_accuracies(request: CollectRequest, progress: Callable[[Progress], None] | None = None) -> int:
    """Measure subnets until the file holds as many as asked; returns how many were measured now.

    A run that was stopped goes on: what the file holds is not measured again.

    Raises:
        WeightsError: random weights, whose accuracies mean nothing, or a checkpoint that does not fit.
        ImagesError: images that cannot be used, or of another number of classes.
        MismatchError: the file is of another space, weights or images.
    """
    space = get_space(request.space)
    if request.weights == "random":
        raise WeightsError("accuracies of random weights mean nothing", subject="--weights")
    images = load_images(request.images, limit_per_class=request.limit_per_class, size=max(space.image_sizes))
    calibration = None
    if request.calibration is not None:
        calibration = load_images(
            request.calibration,
            labelled=False,
            limit_per_class=request.calibration_limit,
            size=max(space.image_sizes),
        )
    net, provenance = load_supernet(space, request.weights)
    evaluator = SubnetEvaluator(space, net, images, calibration)
    header = AccuracyHeader(
        space=space,
        weights=provenance.sha256 or "",
        images=images.digest,
        image_count=len(images),
        calibration=calibration.digest if calibration is not None else "",
    )
    with AccuracyWriter(request.output, header) as writer:
        return collect(
            evaluator.top1_percent,
            space,
            count=request.count,
            rng=np.random.default_rng(request.seed),
            writer=writer,
            progress=progress,
        )


def fit_file(
    data: Path,
    output: Path,
    *,
    ensemble: int = 1,
    seed: int = 0,
    force: bool = False,
    log: Callable[[str], None] | None = None,
) -> HeldOut:
    """Fit a predictor to a file of measured subnets and save it; returns its held-out figures."""
    check_output(output, force=force)
    predictor, figures = fit_accuracy(
        load_accuracy_data(data), FitSettings(ensemble=ensemble, seed=seed), log=log
    )
    save_accuracy_predictor(predictor, output, force=force)
    return figures
