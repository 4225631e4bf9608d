"""Accuracies of a supernet that was just trained: of some subnets, and a predictor for all.

The predictor is fitted to subnets in rounds, each nearer to the best.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from deploy_nas.accuracy.best import Percent
from deploy_nas.accuracy.collect import Progress
from deploy_nas.accuracy.evaluate import SubnetEvaluator
from deploy_nas.accuracy.fit import FitSettings, fit_percent
from deploy_nas.accuracy.heldout import HeldOut, held_out_figures
from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.adapters import supernets
from deploy_nas.adapters.images import SizedImages, with_mirrored
from deploy_nas.core.errors import OptionError
from deploy_nas.core.measured import Top1
from deploy_nas.core.space import Architecture, Space, image_size_of
from deploy_nas.records.accuracy import AccuracyData, load_accuracy_data
from deploy_nas.records.files import read_bytes
from deploy_nas.records.supernet import (
    PREDICTOR,
    SUBNETS,
    WEIGHTS,
    WORK,
    JudgedSubnet,
    load_supernet_record,
    save_supernet,
)
from deploy_nas.workflows.accuracy import fit_file, measure_subnets, promised_points
from deploy_nas.workflows.stages import Log
from deploy_nas.workflows.stages import Progress as Said
from deploy_nas.workflows.training_images import TrainingImages

_MOST_HELD_OUT_SUBNETS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictorSettings:
    """The making of a predictor.

    Args:
        subnets: drawn broadly at first.
        best: more subnets in each further round: those that a fit to the ones before rates best.
        judged: of the last fit's best, measured only to judge it.
        seed: of all draws and fits.
        workers: processes that measure; ``None``: one per core.
        cluster: whose nodes measure instead, as of ``measure_subnets``.
        fit: of every fit.
        mirrored: measure on mirrored images too, for less noise; false where a mirrored image is of another
            class, or of none.
    """

    subnets: int = 150
    best: Sequence[int] = ()
    judged: int = 0
    seed: int = 0
    workers: int | None = None
    cluster: str | None = None
    fit: FitSettings = field(default_factory=FitSettings)
    mirrored: bool = True


def predictor_rounds(subnets: int) -> tuple[int, ...]:
    """How many of the subnets measured for a predictor are those that it rated best, in each round.

    Few broadly drawn ones are enough: more of them hardly help where searches end. On 460 photographs, 100
    and two rounds of 20 gave a predictor that overrated its best 20 by 3.5 points; 60 and five rounds by 0.3.
    """
    return (round(subnets / 8),) * 5


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictorFiles:
    """The files of its making: measured subnets and plot stay beside the predictor or in a work folder."""

    weights: Path
    predictor: Path
    subnets: Path
    plot: Path
    judged: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class BestJudged:
    """The last fit's best subnets as measured: how many, predicted minus measured, and the mean error."""

    subnets: int
    promised_points: float
    mae_points: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictorMade:
    """A predictor's figures on subnets held out of it, and on its best ones if those were measured."""

    held_out: HeldOut
    of_the_best: BestJudged | None = None


def interval_note(data: AccuracyData, images: int) -> str:
    """How far the accuracy of any image may be from that of the few that subnets were measured on.

    Args:
        data: the measured subnets.
        images: number of different images; mirrored ones tell nothing new of this.
    """
    best = Top1(right=round(float(data.top1_percent.max()) * images / 100.0), images=images)
    low, high = best.interval_percent
    return (
        f"top-1 is of {images} validation images: at {best.percent:.0f}%, the 95% interval for other images "
        f"is {low:.1f} to {high:.1f}%"
    )


def make_predictor(
    space: Space,
    files: PredictorFiles,
    validation: SizedImages,
    settings: PredictorSettings,
    *,
    log: Log,
    on_subnet: Callable[[Progress], None] | None = None,
) -> PredictorMade:
    """Measure subnets on the validation images, fit the accuracy predictor, and write it.

    What was measured before is not measured again.

    Raises:
        WeightsError: weights that do not fit.
        MismatchError: the file of subnets is of other weights or images.
        RecordError: the subnets are all alike.
    """
    net = supernets.build_supernet(space)
    weights = supernets.load_weights(net, space, files.weights).sha256
    measured = validation
    if settings.mirrored:
        measured = SizedImages({size: with_mirrored(given) for size, given in validation.by_size.items()})
    evaluator = SubnetEvaluator(space, net, measured)

    def measure(path: Path, count: int, seed: int, best_by: Percent | None = None) -> None:
        measure_subnets(
            evaluator,
            weights,
            path,
            count=count,
            seed=seed,
            workers=settings.workers,
            cluster=settings.cluster,
            best_by=best_by,
            progress=on_subnet,
        )

    def fit(total: int) -> FitSettings:
        held_out = min(settings.fit.held_out, _MOST_HELD_OUT_SUBNETS / total)
        return replace(settings.fit, seed=settings.seed, held_out=held_out)

    measure(files.subnets, settings.subnets, settings.seed)
    total = settings.subnets
    for turn, more in enumerate(settings.best, start=1):
        data = load_accuracy_data(files.subnets)
        if len(data) < total + more:
            # Not fitted to everything in the file: a resumed run would use another predictor.
            percent = fit_percent(data.first(total), fit(total))
            try:
                measure(files.subnets, total + more, settings.seed + turn, percent)
            except OptionError:  # hardly trained: nearly all climbs end at one subnet
                log(f"too few different best subnets: {more} are drawn broadly instead")
                measure(files.subnets, total + more, settings.seed + turn)
            new = load_accuracy_data(files.subnets).last(more)
            promised = float(np.mean(percent(new.encoded) - new.top1_percent))
            log(f"best {more}: predicted minus measured {promised:+.2f} points on average")
        total += more
    fitted = fit_file(
        files.subnets,
        files.predictor,
        fit(total),
        plot=files.plot,
        note=interval_note(load_accuracy_data(files.subnets), len(validation)),
        force=True,
        log=log,
    )
    figures = fitted.figures
    if fitted.plot_fault:
        log(f"no plot: {fitted.plot_fault}")
    if not settings.judged:
        return PredictorMade(held_out=figures)
    predictor = load_accuracy_predictor(space, files.predictor)
    name = hashlib.sha256(read_bytes(files.predictor)).hexdigest()[:12]
    path = files.judged / f"best-{name}.jsonl"
    measure(path, settings.judged, settings.seed + len(settings.best) + 1, predictor.percent_encoded)
    data = load_accuracy_data(path)
    judged = BestJudged(
        subnets=len(data),
        promised_points=round(promised_points(predictor, data), 3),
        mae_points=round(held_out_figures(predictor, data).mae_points, 3),
    )
    return PredictorMade(held_out=figures, of_the_best=judged)


# -- in a supernet's folder ----------------------------------------------------------------------


def fit_predictor(
    space: Space,
    images: TrainingImages,
    folder: Path,
    settings: PredictorSettings,
    *,
    log: Log | None = None,
    progress: Said | None = None,
) -> PredictorMade:
    """Make the accuracy predictor of a trained supernet, and note it in the supernet's record.

    One that was made with these settings is not made again.
    """
    total = settings.subnets + sum(settings.best)
    if (held := _predictor_of(folder, total)) is not None:
        return held

    def on_subnet(done: Progress) -> None:
        if progress is not None:
            progress("measuring subnets", done.done, done.total, done.remaining_s)

    files = PredictorFiles(
        weights=folder / WEIGHTS,
        predictor=folder / PREDICTOR,
        subnets=folder / SUBNETS,
        plot=folder / WORK / "accuracy.svg",
        judged=folder / WORK,
    )
    made = make_predictor(
        space, files, images.validation, settings, log=log or (lambda line: None), on_subnet=on_subnet
    )
    record = load_supernet_record(folder)
    digest = hashlib.sha256(read_bytes(files.predictor)).hexdigest()
    save_supernet(replace(record, predictor_sha256=digest), folder)
    return made


def _predictor_of(folder: Path, subnets: int) -> PredictorMade | None:
    """The predictor of the folder, if it was fitted to as many subnets."""
    record = load_supernet_record(folder)
    if record.predictor_sha256 is None or not (folder / PREDICTOR).is_file():
        return None
    found = load_accuracy_predictor(record.space, folder)
    held_out = found.about.held_out
    if held_out is None or len(load_accuracy_data(folder / SUBNETS)) != subnets:
        return None
    return PredictorMade(held_out=held_out)


def judge(
    space: Space, weights: Path, validation: SizedImages, progress: Said | None = None
) -> tuple[JudgedSubnet, ...]:
    """Top-1 of the smallest, a middle and the largest subnet, the last at every image size."""
    net = supernets.build_supernet(space)
    supernets.load_weights(net, space, weights)
    evaluator = SubnetEvaluator(space, net, validation)
    middle = space.decode(space.canonical(space.choice_counts[None] // 2))[0]
    chosen: list[tuple[str, Architecture]] = [("smallest", space.smallest()), ("middle", middle)]
    chosen += [("largest", space.largest(size)) for size in space.image_sizes]
    judged = []
    for number, (name, architecture) in enumerate(chosen):
        if progress is not None:
            progress("measuring the supernet", number, len(chosen), None)
        macs = sum(layer.macs for _, layer in space.layers(architecture))
        judged.append(
            JudgedSubnet(
                name=f"{name}, {image_size_of(architecture)} px",
                architecture=architecture,
                million_macs=macs / 1e6,
                top1=evaluator.top1(architecture),
            )
        )
    return tuple(judged)
