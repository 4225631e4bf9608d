"""Fitting an accuracy predictor to measured subnets: OFA's MLP, distilled from a Gaussian process.

A few hundred subnets are too few for 3 x 400 hidden units, but enough for a Gaussian process (see
``accuracy.process``). The process is fitted to them and labels 60,000 more, on which the MLP is trained. The
MLP agrees with its teacher to a few hundredths of a point and runs in notebooks and other runtimes. The
members of an ensemble learn the process's mean plus or minus its standard deviation, so that their mean is
the prediction and their spread is the process's own.

The figures on held-out subnets are of a process that was fitted without those; the predictor itself is then
fitted to all, for few subnets are near the best, where searches end. With more subnets than the process can
use, the MLP learns the measured accuracies themselves, without the held-out ones, and its own figures count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy_nas.accuracy.best import Percent, climb, distinct
from deploy_nas.accuracy.collect import sample_broadly
from deploy_nas.accuracy.encoding import WITH_TOTALS, feature_layout
from deploy_nas.accuracy.heldout import HeldOut, held_out_figures, held_out_of
from deploy_nas.accuracy.making import Making
from deploy_nas.accuracy.predictor import AccuracyPredictor
from deploy_nas.accuracy.process import MOST_SUBNETS, Process, fit_process
from deploy_nas.adapters.mlp import MLP, Dense
from deploy_nas.adapters.supernets import one_torch_thread, temporary_seed, usual_torch
from deploy_nas.core.errors import OptionError, RecordError
from deploy_nas.core.space import FloatArray, IntArray, Space
from deploy_nas.records.accuracy import AccuracyData

MIN_SUBNETS = 30
_ROWS_PER_CLIMB = 300

Log = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class FitSettings:
    """Settings of the training.

    Args:
        ensemble: number of members; with two or more, their spread estimates the predictor's uncertainty.
        held_out: share of the subnets kept out of a first fit, for the figures.
        hidden: units of each hidden layer.
        taught: architectures labelled by the process, in addition to the measured ones: a third drawn
            broadly, a third visited while climbing to the best by the process, and a third visited while
            climbing to the best by an MLP trained on those. Without the last third a search would end where
            the MLP overestimates.
        epochs, batch_size, learning_rate: of AdamW with a one-cycle schedule.
        layout: name of the feature layout; see ``accuracy.encoding``.
        seed: seed of all randomness.
    """

    ensemble: int = 1
    held_out: float = 0.2
    hidden: tuple[int, ...] = (400, 400, 400)
    taught: int = 60_000
    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 2e-3
    layout: str = WITH_TOTALS
    seed: int = 0


@one_torch_thread()
@usual_torch()
def fit_accuracy(
    data: AccuracyData, settings: FitSettings | None = None, *, log: Log | None = None
) -> tuple[AccuracyPredictor, HeldOut]:
    """Fit to ``data``, with figures of a fit to most of it; equal data and settings give equal predictors.

    Args:
        data: measured subnets.
        settings: settings of the training; ``None``: the defaults.
        log: called with one line per step.

    Returns:
        The predictor, in percent, with its making in ``about``; and its held-out figures.

    Raises:
        RecordError: fewer than 30 subnets, or all of the same accuracy.
        OptionError: a setting out of range; names it.
    """
    settings, log = settings or FitSettings(), log or (lambda line: None)
    _check(settings)
    space = data.header.space
    encoded = space.canonical(data.encoded)
    # A network measured twice must not be on both sides of the split.
    networks = np.unique(encoded, axis=0, return_inverse=True)[1].reshape(-1)
    if networks.size == 0 or int(networks.max()) + 1 < MIN_SUBNETS or np.ptp(data.top1_percent) == 0:
        raise RecordError(
            f"{len(data)} measured subnets that differ by "
            f"{np.ptp(data.top1_percent) if len(data) else 0:.2f} points are too few to train on",
            hint=f"collect at least {MIN_SUBNETS} different ones, preferably 300",
        )
    layout = feature_layout(space, settings.layout)
    rng = np.random.default_rng(settings.seed)
    order = rng.permutation(int(networks.max()) + 1)
    held = np.isin(networks, order[: max(5, round(settings.held_out * len(order)))])
    if np.ptp(data.top1_percent[~held]) == 0:
        raise RecordError("all subnets to train on have the same accuracy", hint="collect more")

    def fitted(some: NDArray[np.bool_]) -> Process:
        return fit_process(layout.features(encoded[some]), data.top1_percent[some], layout.columns, rng)

    measured_only = int((~held).sum()) > MOST_SUBNETS  # too many for the process
    process = judged = fitted(~held)
    used = ~held
    if not measured_only:
        used = np.ones_like(held)
        process = fitted(used)
    log(f"noise of the measured accuracies: {process.noise_points:.2f} points")
    pool, third = encoded[used], settings.taught // 3
    if third and not measured_only:

        def teacher(rows: IntArray) -> FloatArray:
            return process.mean(layout.features(rows))

        pool = np.concatenate(
            [pool, sample_broadly(space, third, rng), _visited_by_climbs(space, teacher, third, rng)]
        )
        layers, _ = _train(layout.features(pool), teacher(pool), settings, int(rng.integers(2**31)))
        first = AccuracyPredictor(space=space, layout=layout, mlp=MLP(members=(layers,)))
        log("trained a first perceptron; adding the subnets that it ranks best")
        pool = np.concatenate([pool, _visited_by_climbs(space, first.percent_encoded, third, rng)])
    features = layout.features(pool)
    mean, deviation = process.predict(features)
    if measured_only:
        mean = data.top1_percent[used]
    members, errors_points = [], []
    for number, side in enumerate(_sides(settings.ensemble), start=1):
        layers, error_points = _train(features, mean + side * deviation, settings, int(rng.integers(2**31)))
        members.append(layers)
        errors_points.append(error_points)
        log(f"member {number}/{settings.ensemble}: differs from its teacher by {error_points:.3f} points")
    mlp = MLP(members=tuple(members))
    if measured_only:
        figures = held_out_figures(AccuracyPredictor(space=space, layout=layout, mlp=mlp), data, held)
    else:
        said, spread = judged.predict(layout.features(encoded[held]))
        spread = spread if settings.ensemble > 1 else np.zeros_like(spread)
        figures = held_out_of(said, data.top1_percent[held], spread)
    about = Making(
        held_out=figures,
        samples=int(used.sum()),
        noise_points=round(process.noise_points, 4),
        off_teacher_points=round(max(errors_points), 4),
        weights=data.header.weights,
        images=data.header.images,
        image_count=data.header.image_count,
        calibration=data.header.calibration,
        seed=settings.seed,
        ensemble=settings.ensemble,
    )
    return AccuracyPredictor(space=space, layout=layout, mlp=mlp, about=about), figures


@one_torch_thread()
def fit_percent(data: AccuracyData, settings: FitSettings) -> Percent:
    """The process alone, fitted to all of ``data``: accuracy in percent of encoded rows.

    It takes seconds where :func:`fit_accuracy` takes a minute, but many rows take longer to predict.

    Raises:
        RecordError: all subnets have the same accuracy.
    """
    if np.ptp(data.top1_percent) == 0:
        raise RecordError("all subnets to train on have the same accuracy", hint="collect more")
    layout = feature_layout(data.header.space, settings.layout)
    encoded = data.header.space.canonical(data.encoded)
    rng = np.random.default_rng(settings.seed)
    process = fit_process(layout.features(encoded), data.top1_percent, layout.columns, rng)
    return lambda rows: process.mean(layout.features(rows))


def _check(settings: FitSettings) -> None:
    for name in ("ensemble", "epochs", "batch_size"):
        if getattr(settings, name) < 1:
            raise OptionError(f"must be at least 1, is {getattr(settings, name)}", subject=name)
    if settings.taught < 0:
        raise OptionError(f"must be at least 0, is {settings.taught}", subject="taught")
    if not 0.0 < settings.held_out <= 0.5:
        raise OptionError(f"must be above 0 and at most 0.5, is {settings.held_out}", subject="held_out")
    if len(settings.hidden) < 1 or min(settings.hidden) < 1:
        raise OptionError(f"must be numbers of units of at least 1, is {settings.hidden}", subject="hidden")
    if not settings.learning_rate > 0.0:
        raise OptionError(f"must be positive, is {settings.learning_rate}", subject="learning_rate")


def _visited_by_climbs(space: Space, percent: Percent, count: int, rng: np.random.Generator) -> IntArray:
    """At most ``count`` architectures that are compared on the way to the best by ``percent``."""
    visited: list[IntArray] = []
    climb(space, percent, math.ceil(count / _ROWS_PER_CLIMB), rng, visited)
    rows = distinct(np.concatenate(visited))
    return rows[rng.permutation(len(rows))[:count]]


def _sides(members: int) -> FloatArray:
    """Offset of each member in standard deviations: mean 0 and, for two or more, standard deviation 1."""
    sides = np.linspace(-1.0, 1.0, members) if members > 1 else np.zeros(1)
    return sides / max(float(sides.std()), 1e-12)


def _train(
    features: NDArray[np.float32], percent: FloatArray, settings: FitSettings, seed: int
) -> tuple[tuple[Dense, ...], float]:
    """Layers of an MLP trained on ``percent``, and its root mean square error in points."""
    import torch
    from torch import nn

    rng = np.random.default_rng(seed)
    centre, scale = float(percent.mean()), max(float(percent.std()), 1e-6)
    x = torch.from_numpy(features)
    y = torch.from_numpy(((percent - centre) / scale).astype(np.float32))[:, None]
    with temporary_seed(seed):
        modules: list[nn.Module] = []
        width = features.shape[1]
        for units in settings.hidden:
            modules += [nn.Linear(width, units), nn.ReLU()]
            width = units
        net = nn.Sequential(*modules, nn.Linear(width, 1))
    starts = range(0, len(y), settings.batch_size)
    optimizer = torch.optim.AdamW(net.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.epochs * len(starts)
    )
    for _ in range(settings.epochs):
        shuffled = rng.permutation(len(y))
        for start in starts:
            index = shuffled[start : start + settings.batch_size]
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x[index]), y[index]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        error_points = scale * float((net(x) - y).square().mean().sqrt())
    linear = [module for module in net if isinstance(module, nn.Linear)]
    layers = [(m.weight.detach().numpy().T.copy(), m.bias.detach().numpy().copy()) for m in linear]
    weight, bias = layers[-1]
    layers[-1] = (np.float32(scale) * weight, np.float32(scale) * bias + np.float32(centre))
    return tuple(layers), error_points
