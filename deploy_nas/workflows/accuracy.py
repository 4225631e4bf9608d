"""An accuracy predictor for anyone's supernet: measure its subnets on your images, fit, judge, save."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deploy_nas.accuracy.best import Percent
from deploy_nas.accuracy.collect import Progress, collect
from deploy_nas.accuracy.evaluate import SubnetEvaluator, measuring
from deploy_nas.accuracy.fit import FitSettings, fit_accuracy
from deploy_nas.accuracy.heldout import HeldOut
from deploy_nas.accuracy.predictor import AccuracyPredictor, load_accuracy_predictor, save_accuracy_predictor
from deploy_nas.adapters.images import ReadingReport, SizedImages, load_images_at_sizes, with_mirrored
from deploy_nas.adapters.plots import Scatter, plot_predictions
from deploy_nas.adapters.pools import ClusterPool, check_cluster, pool_of
from deploy_nas.core.errors import DeployNASError, OutputError, WeightsError
from deploy_nas.core.extras import require_supernets
from deploy_nas.core.shown import Shown
from deploy_nas.deploy.weights import load_supernet
from deploy_nas.device import machine
from deploy_nas.records.accuracy import AccuracyData, AccuracyHeader, AccuracyWriter, load_accuracy_data
from deploy_nas.records.files import check_output
from deploy_nas.records.supernet import space_named


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectRequest:
    """A measurement of subnets on images.

    ``mirrored`` measures on the mirrored images too; ``calibration`` images recalibrate batch norm for each
    subnet; ``best_of`` names a predictor whose best subnets are measured instead of a broad draw;
    ``workers`` is the number of processes (``None``: one per core); ``cluster`` ("auto" or HOST:PORT) has the
    nodes of a cluster measure (:class:`~deploy_nas.adapters.pools.ClusterPool`).
    """

    space: str
    images: Path
    output: Path
    weights: str | None = None
    calibration: Path | None = None
    calibration_limit: int = 2000
    limit_per_class: int | None = None
    mirrored: bool = False
    best_of: str | None = None
    count: int = 300
    seed: int = 0
    workers: int | None = None
    cluster: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Collected(Shown):
    """The outcome of a run: subnets measured now, subnets in the file, and how the images were read.

    ``top1_percent`` is the lowest and the highest accuracy in the file; ``chance_percent`` that of guessing.
    ``promised_points`` is the mean of predicted minus measured accuracy of those measured now, by the
    predictor ``best_of``; ``None`` without one.
    """

    measured: int
    subnets: int
    images: int
    top1_percent: tuple[float, float]
    chance_percent: float
    promised_points: float | None
    readings: tuple[ReadingReport, ...] = ()

    def _summary(self) -> str:
        low, high = self.top1_percent
        return f"{self.subnets} subnets on {self.images} images, top-1 {low:.2f} to {high:.2f}%"


def collect_accuracies(
    request: CollectRequest, progress: Callable[[Progress], None] | None = None
) -> Collected:
    """Measure subnets until the file holds as many as requested.

    A stopped run is resumed: subnets in the file are not measured again.

    Raises:
        WeightsError: random weights, whose accuracies mean nothing, or a checkpoint that does not fit.
        ImagesError: images that cannot be used, or of another number of classes.
        MismatchError: the file is of another space, weights or images, or the predictor of another space.
        OutputError: another run is writing the file.
        OptionError: a cluster that cannot be used.
        MissingPackageError: without the extra that is needed.
    """
    require_supernets()
    if request.cluster is not None:
        check_cluster(request.cluster)
    space = space_named(request.space)
    if request.weights == "random":
        raise WeightsError("accuracies of random weights mean nothing", subject="weights")
    predictor = load_accuracy_predictor(space, request.best_of) if request.best_of is not None else None
    check_output(request.output, force=True)
    images = load_images_at_sizes(request.images, space.image_sizes, limit_per_class=request.limit_per_class)
    if request.mirrored:
        images = SizedImages({size: with_mirrored(given) for size, given in images.by_size.items()})
    calibration: SizedImages | None = None
    if request.calibration is not None:
        calibration = load_images_at_sizes(
            request.calibration,
            space.image_sizes,
            labelled=False,
            limit_per_class=request.calibration_limit,
        )
    net, provenance = load_supernet(space, request.weights)
    evaluator = SubnetEvaluator(space, net, images, calibration)
    measured = measure_subnets(
        evaluator,
        provenance.sha256 or "",
        request.output,
        count=request.count,
        seed=request.seed,
        workers=request.workers,
        cluster=request.cluster,
        best_by=predictor.percent_encoded if predictor is not None else None,
        progress=progress,
    )
    data = load_accuracy_data(request.output)
    top1_percent = data.top1_percent
    promised = None
    if predictor is not None and measured:
        promised = promised_points(predictor, data.last(measured))
    return Collected(
        measured=measured,
        subnets=len(top1_percent),
        images=len(evaluator.images),
        top1_percent=(float(top1_percent.min()), float(top1_percent.max())),
        chance_percent=100.0 / space.classes,
        promised_points=promised,
        readings=tuple(given.first.report for given in (images, calibration) if given is not None),
    )


def promised_points(predictor: AccuracyPredictor, data: AccuracyData) -> float:
    """Mean of predicted minus measured accuracy, percentage points."""
    return float(np.mean(predictor.percent_encoded(data.encoded) - data.top1_percent))


def measure_subnets(
    evaluator: SubnetEvaluator,
    weights: str,
    output: Path,
    *,
    count: int,
    seed: int = 0,
    workers: int | None = None,
    cluster: str | None = None,
    best_by: Percent | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> int:
    """Start or resume a file of measured subnets; returns how many were measured now.

    Args:
        evaluator: the supernet and the images.
        weights: hash of the supernet's weights.
        output: the file.
        count: subnets that it is to hold.
        seed: for drawing them.
        workers: processes; ``None``: one per core. The file does not depend on it.
        cluster: whose nodes measure instead; nor does it depend on this.
        best_by: as :func:`~deploy_nas.accuracy.collect.collect`.
        progress: called after each subnet.

    Raises:
        MismatchError, OutputError, RecordError: as :class:`AccuracyWriter`.
        OptionError: fewer than one worker or subnet, more subnets than the space has, or a lost cluster.
    """
    calibration = evaluator.calibration
    header = AccuracyHeader(
        space=evaluator.space,
        weights=weights,
        images=evaluator.images.digest,
        image_count=len(evaluator.images),
        calibration=calibration.digest if calibration is not None else "",
    )
    cores = len(machine.cores())
    with AccuracyWriter(output, header) as writer:
        # At most one per remaining subnet: a finished file starts no process.
        left = max(1, count - len(writer.done))
        pool = pool_of(min(cores if workers is None else workers, left))
        if cluster is not None and len(writer.done) < count:
            pool = ClusterPool(cluster, workers, cores=cores)
        with measuring(evaluator, pool) as measure:
            return collect(
                measure,
                evaluator.space,
                count=count,
                rng=np.random.default_rng(seed),
                writer=writer,
                best_by=best_by,
                progress=progress,
            )


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Fitted(Shown):
    """A predictor that was saved, by its held-out figures; ``plot_fault`` says why there is no plot."""

    figures: HeldOut
    plot: Path | None = None
    plot_fault: str = ""

    def _summary(self) -> str:
        return (
            f"mean error {self.figures.mae_points:.2f} points on {len(self.figures.pairs)} subnets held out"
        )


def fit_file(
    data: Path,
    output: Path,
    settings: FitSettings | None = None,
    *,
    plot: Path | None = None,
    note: str = "",
    force: bool = False,
    log: Callable[[str], None] | None = None,
) -> Fitted:
    """Fit a predictor to a file of measured subnets and save it.

    ``plot`` names a picture of its held-out figures (.svg); where that cannot be written, the result
    says why. ``note`` is shown with every prediction.
    """
    if plot is not None:
        check_output(plot, force=force)
    if plot is None or plot.exists() or not output.is_file():
        check_output(output, force=force)
    measured = load_accuracy_data(data)
    check_output(output, force=force or _is_fitted(output, measured.header, settings or FitSettings()))
    predictor, figures = fit_accuracy(measured, settings, log=log)
    if plot is not None and force:
        plot.unlink(missing_ok=True)  # it is of the predictor before
    save_accuracy_predictor(replace(predictor, note=note), output, force=force)
    if plot is None:
        return Fitted(figures=figures)
    try:
        plot_figures(figures, plot, title=measured.header.space.id, force=force)
    except OutputError as error:
        return Fitted(figures=figures, plot_fault=str(error))
    return Fitted(figures=figures, plot=plot)


def _is_fitted(path: Path, header: AccuracyHeader, settings: FitSettings) -> bool:
    """Whether a predictor seems to be fitted to these subnets: a run was killed before it drew the plot."""
    try:
        about = load_accuracy_predictor(header.space, path).about
    except DeployNASError:
        return False
    made = (about.weights, about.images, about.seed, about.ensemble)
    return made == (header.weights, header.images, settings.seed, settings.ensemble)


def plot_figures(figures: HeldOut, path: Path, *, title: str, force: bool = False) -> None:
    """Draw held-out figures: predicted against measured, with the ensemble's spread where there is one."""
    predicted, measured = zip(*figures.pairs, strict=True)
    label = (
        f"{len(figures.pairs)} subnets held out: mean error {figures.mae_points:.2f} points, "
        f"rank correlation {figures.rank_correlation:.3f}"
    )
    group = Scatter(label=label, predicted=predicted, measured=measured, spread=figures.spread_points)
    plot_predictions([group], path, title=title, force=force)
