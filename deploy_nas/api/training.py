"""``collect_accuracies``, ``train_accuracy_predictor``, ``train``, ``finetune``, ``build``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deploy_nas.accuracy.collect import Progress as Subnets
from deploy_nas.accuracy.fit import FitSettings
from deploy_nas.api.progress import Progress, shown
from deploy_nas.core.spaces import PHOTOGRAPHS
from deploy_nas.workflows.accuracy import Collected, CollectRequest, Fitted, fit_file
from deploy_nas.workflows.accuracy import collect_accuracies as collect
from deploy_nas.workflows.build import BuildRequest, Built, training_for
from deploy_nas.workflows.build import build as build_networks
from deploy_nas.workflows.finetune import DEFAULT_EPOCHS, Finetuned, FinetuneRequest
from deploy_nas.workflows.finetune import finetune as finetune_subnet
from deploy_nas.workflows.given import (
    GivenArchitecture,
    GivenPath,
    GivenProfile,
    GivenSpace,
    architecture_given,
    space_name,
)
from deploy_nas.workflows.stages import Progress as Stages
from deploy_nas.workflows.train import Trained, TrainRequest
from deploy_nas.workflows.train import train as train_supernet

Log = Callable[[str], None]


def _path(given: GivenPath | None) -> Path | None:
    return None if given is None else Path(given)


def _subnets(update: Progress) -> Callable[[Subnets], None]:
    def each(progress: Subnets) -> None:
        update(progress.done, progress.total, f"{progress.top1_percent:.2f}%")

    return each


def _stages(update: Progress) -> Stages:
    def each(what: str, done: int, total: int, left_s: float | None) -> None:
        update(done, total, what)

    return each


def collect_accuracies(
    space: GivenSpace,
    images: GivenPath,
    output: GivenPath,
    *,
    weights: GivenPath | None = None,
    calibration_images: GivenPath | None = None,
    calibration_limit: int = 2000,
    limit_per_class: int | None = None,
    mirrored: bool = False,
    best_of: GivenPath | None = None,
    count: int = 300,
    seed: int = 0,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> Collected:
    """Measure subnets on your images into ``output``, as ``deploy-nas accuracy collect`` does.

    Raises:
        WeightsError, ImagesError, MismatchError, OutputError: what cannot be used.
    """
    request = CollectRequest(
        space=space_name(space),
        images=Path(images),
        output=Path(output),
        weights=None if weights is None else str(weights),
        calibration=_path(calibration_images),
        calibration_limit=calibration_limit,
        limit_per_class=limit_per_class,
        mirrored=mirrored,
        best_of=None if best_of is None else str(best_of),
        count=count,
        seed=seed,
        workers=workers,
        cluster=cluster,
    )
    with shown("measuring subnets", progress) as update:
        return collect(request, _subnets(update))


def train_accuracy_predictor(
    subnets: GivenPath,
    output: GivenPath,
    *,
    ensemble: int = 1,
    held_out: float = 0.2,
    plot: GivenPath | None = None,
    seed: int = 0,
    force: bool = False,
    log: Log | None = None,
) -> Fitted:
    """Fit a predictor to measured subnets and judge it, as ``deploy-nas accuracy train`` does.

    ``plot`` is a picture to draw, .svg or .png. :func:`load_accuracy_predictor` loads what was written.

    Raises:
        RecordError, OptionError, OutputError: what cannot be used.
    """
    settings = FitSettings(ensemble=ensemble, held_out=held_out, seed=seed)
    return fit_file(Path(subnets), Path(output), settings, plot=_path(plot), force=force, log=log)


def train(
    images: GivenPath,
    output: GivenPath,
    *,
    space: GivenSpace = PHOTOGRAPHS,
    weights: GivenPath | None = None,
    validation: GivenPath | None = None,
    image_sizes: Sequence[int] | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    batch_size: int = 32,
    flip: bool = True,
    device: str | None = None,
    subnets: int = 160,
    workers: int | None = None,
    cluster: str | None = None,
    seed: int = 0,
    force: bool = False,
    log: Log | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train a supernet on your images into the folder ``output``, as ``deploy-nas train`` does.

    Raises:
        ImagesError, OptionError, MismatchError, OutputError: what cannot be used.
    """
    request = TrainRequest(
        images=Path(images),
        output=Path(output),
        space=space_name(space),
        validation=_path(validation),
        weights=None if weights is None else str(weights),
        image_sizes=image_sizes,
        epochs=epochs,
        minutes=minutes,
        batch_size=batch_size,
        flip=flip,
        device=device,
        subnets=subnets,
        workers=workers,
        cluster=cluster,
        seed=seed,
        force=force,
    )
    with shown("", progress) as update:
        return train_supernet(request, log, _stages(update))


def finetune(
    architecture: GivenArchitecture,
    images: GivenPath,
    output: GivenPath,
    *,
    space: GivenPath,
    validation: GivenPath | None = None,
    epochs: float = DEFAULT_EPOCHS,
    batch_size: int = 32,
    flip: bool = True,
    device: str | None = None,
    seed: int = 0,
    force: bool = False,
    log: Log | None = None,
    progress: Progress | None = None,
) -> Finetuned:
    """Train one subnet of the supernet in the folder ``space`` further, as ``deploy-nas finetune`` does.

    Raises:
        MismatchError: a subnet of another space, or images that the supernet was not trained on.
        ImagesError, OptionError, RecordError, OutputError: what cannot be used.
    """
    request = FinetuneRequest(
        architecture=architecture_given(architecture, space),
        space=Path(space),
        images=Path(images),
        output=Path(output),
        validation=_path(validation),
        epochs=epochs,
        batch_size=batch_size,
        flip=flip,
        device=device,
        seed=seed,
        force=force,
    )
    with shown("", progress) as update:
        return finetune_subnet(request, log, _stages(update))


def build(
    images: GivenPath,
    output: GivenPath,
    *,
    max_latency_ms: float | Sequence[float] = (),
    profile: GivenProfile | None = None,
    target: str | None = None,
    ssh_options: Sequence[str] = (),
    threads: int = 1,
    quick: bool = False,
    test: GivenPath | None = None,
    finetune_epochs: float = DEFAULT_EPOCHS,
    int8: bool = True,
    max_accuracy_drop: float = 1.0,
    allow_unstable: bool = False,
    space: GivenSpace = PHOTOGRAPHS,
    weights: GivenPath | None = None,
    validation: GivenPath | None = None,
    image_sizes: Sequence[int] | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    batch_size: int = 32,
    flip: bool = True,
    device: str | None = None,
    subnets: int = 160,
    workers: int | None = None,
    cluster: str | None = None,
    seed: int = 0,
    force: bool = False,
    log: Log | None = None,
    progress: Progress | None = None,
) -> list[Built]:
    """From your images to a verified network for each budget, as ``deploy-nas build`` does.

    Raises:
        BudgetError: a budget that cannot be kept; raised before any training.
        ImagesError, OptionError, MismatchError, OutputError: what cannot be used.
    """
    training = TrainRequest(
        images=Path(images),
        output=Path(output),
        space=space_name(space),
        validation=_path(validation),
        weights=None if weights is None else str(weights),
        image_sizes=image_sizes,
        epochs=epochs,
        minutes=minutes,
        batch_size=batch_size,
        flip=flip,
        device=device,
        subnets=subnets,
        workers=workers,
        cluster=cluster,
        seed=seed,
        force=force,
    )
    request = BuildRequest(
        output=Path(output),
        training=training_for(Path(output), training),
        budgets_ms=(max_latency_ms,) if isinstance(max_latency_ms, int | float) else tuple(max_latency_ms),
        profile=profile,
        target=target,
        ssh_options=ssh_options,
        threads=threads,
        quick=quick,
        finetune_epochs=finetune_epochs,
        int8=int8,
        max_accuracy_drop=max_accuracy_drop,
        test=_path(test),
        allow_unstable=allow_unstable,
        seed=seed,
    )
    with shown("", progress) as update:
        return build_networks(request, log, _stages(update))
