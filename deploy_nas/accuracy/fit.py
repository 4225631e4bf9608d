"""Fit an accuracy predictor to measured subnets: the seed's MLP, taught by a Gaussian process.

A few hundred subnets are few for 3 x 400 hidden units, and plenty for a Gaussian process (see
``accuracy.process``). So the process is fitted to them, tells the accuracies of 60,000 more, and the MLP
learns those: it agrees with its teacher to a few hundredths of a point, and is what notebooks and other
runtimes know. The members of an ensemble learn the process's mean and, to each side of it, how unsure
it is: their mean is the prediction, their standard deviation the process's own. Of more subnets than the
process takes, the MLP learns the measured accuracies themselves.
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
from deploy_nas.accuracy.judge import HeldOut, judge
from deploy_nas.accuracy.predictor import AccuracyPredictor
from deploy_nas.accuracy.process import MOST_SUBNETS, fit_process
from deploy_nas.adapters.mlp import MLP, Dense
from deploy_nas.adapters.supernets import one_torch_thread, own_rng
from deploy_nas.core.errors import OptionError, RecordError
from deploy_nas.core.space import FloatArray, IntArray, Space
from deploy_nas.records.accuracy import AccuracyData

MIN_SUBNETS = 30
_OF_A_CLIMB = 300

Log = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class FitSettings:
    """How a predictor is trained.

    Args:
        ensemble: members; from two on their spread says how unsure the predictor is.
        held_out: share of the subnets kept for the figures alone.
        hidden: units of the hidden layers.
        taught: architectures the MLP learns from the process, beside the measured ones: a third broadly
            drawn, a third on the way to the best by the process, a third on the way to the best by an
            MLP that learnt those. Without the last a search would find where the MLP alone errs upwards.
        epochs, batch_size, learning_rate: of AdamW, on one cycle.
        layout: features, see ``accuracy.encoding``.
        seed: of all that is random.
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
def fit_accuracy(
    data: AccuracyData, settings: FitSettings | None = None, *, log: Log | None = None
) -> tuple[AccuracyPredictor, HeldOut]:
    """Train on most of ``data`` and judge on the rest; the same data and settings give the same predictor.

    Args:
        data: measured subnets.
        settings: how; ``None``: the defaults.
        log: called with a line a step.

    Returns:
        The predictor, in percent, with its figures in ``about``; and those figures.

    Raises:
        RecordError: fewer than 30 subnets, or all of one accuracy.
        OptionError: a setting out of range.
    """
    settings, log = settings or FitSettings(), log or (lambda line: None)
    _check(settings)
    space = data.header.space
    encoded = space.canonical(data.encoded)
    # One network measured twice must not stand on both sides of the split.
    networks = np.unique(encoded, axis=0, return_inverse=True)[1].reshape(-1)
    if networks.size == 0 or int(networks.max()) + 1 < MIN_SUBNETS or np.ptp(data.top1_percent) == 0:
        raise RecordError(
            f"{len(data)} measured subnets of {np.ptp(data.top1_percent) if len(data) else 0:.2f} points of "
            f"difference are too few to train on",
            hint=f"collect at least {MIN_SUBNETS} different ones, better 300",
        )
    layout = feature_layout(space, settings.layout)
    rng = np.random.default_rng(settings.seed)
    order = rng.permutation(int(networks.max()) + 1)
    held = np.isin(networks, order[: max(5, round(settings.held_out * len(order)))])
    if np.ptp(data.top1_percent[~held]) == 0:
        raise RecordError("all subnets to train on have one accuracy", hint="collect more")
    process = fit_process(layout.features(encoded[~held]), data.top1_percent[~held], layout.columns, rng)
    log(f"of the accuracies, {process.noise_points:.2f} points are noise")
    known = encoded[~held]
    plenty = len(known) > MOST_SUBNETS  # more than the process takes: the MLP learns the labels themselves
    pool, third = known, settings.taught // 3
    if third and not plenty:

        def taught(rows: IntArray) -> FloatArray:
            return process.mean(layout.features(rows))

        pool = np.concatenate([known, sample_broadly(space, third, rng), _ways(space, taught, third, rng)])
        layers, _ = _learn(layout.features(pool), taught(pool), settings, int(rng.integers(2**31)))
        first = AccuracyPredictor(space=space, layout=layout, mlp=MLP(members=(layers,)))
        log("taught once; now what it thinks best too")
        pool = np.concatenate([pool, _ways(space, first.percent_encoded, third, rng)])
    features = layout.features(pool)
    mean, deviation = process.predict(features)
    if plenty:
        mean = data.top1_percent[~held]
    members, misses = [], []
    for number, side in enumerate(_sides(settings.ensemble), start=1):
        layers, miss_points = _learn(features, mean + side * deviation, settings, int(rng.integers(2**31)))
        members.append(layers)
        misses.append(miss_points)
        log(f"member {number}/{settings.ensemble}: off its teacher by {miss_points:.3f} points")
    mlp = MLP(members=tuple(members))
    figures = judge(AccuracyPredictor(space=space, layout=layout, mlp=mlp), data, held)
    about = {
        "held_out": figures.to_json(),
        "samples": int((~held).sum()),
        "noise_points": round(process.noise_points, 4),
        "off_teacher_points": round(max(misses), 4),
        "weights": data.header.weights,
        "images": data.header.images,
        "image_count": data.header.image_count,
        "calibration": data.header.calibration,
        "seed": settings.seed,
        "ensemble": settings.ensemble,
    }
    return AccuracyPredictor(space=space, layout=layout, mlp=mlp, about=about), figures


def _check(settings: FitSettings) -> None:
    for name in ("ensemble", "epochs", "batch_size"):
        if getattr(settings, name) < 1:
            raise OptionError(f"must be at least 1, is {getattr(settings, name)}", subject=name)
    if settings.taught < 0:
        raise OptionError(f"must be at least 0, is {settings.taught}", subject="taught")
    if not 0.0 < settings.held_out <= 0.5:
        raise OptionError(f"must be above 0 and at most 0.5, is {settings.held_out}", subject="held_out")
    if len(settings.hidden) < 1 or min(settings.hidden) < 1:
        raise OptionError("must be numbers of units, at least 1 each", subject="hidden")
    if not settings.learning_rate > 0.0:
        raise OptionError(f"must be positive, is {settings.learning_rate}", subject="learning_rate")


def _ways(space: Space, percent: Percent, count: int, rng: np.random.Generator) -> IntArray:
    """At most ``count`` architectures that are looked at on the way to the best ones."""
    looked: list[IntArray] = []
    climb(space, percent, math.ceil(count / _OF_A_CLIMB), rng, looked)
    rows = distinct(np.concatenate(looked))
    return rows[rng.permutation(len(rows))[:count]]


def _sides(members: int) -> FloatArray:
    """Where each member stands, in standard deviations: mean 0 and, from two on, deviation 1."""
    sides = np.linspace(-1.0, 1.0, members) if members > 1 else np.zeros(1)
    return sides / max(float(sides.std()), 1e-12)


def _learn(
    features: NDArray[np.float32], percent: FloatArray, settings: FitSettings, seed: int
) -> tuple[tuple[Dense, ...], float]:
    """Layers of an MLP taught ``percent``, and how far off it ends, root mean square."""
    import torch
    from torch import nn

    rng = np.random.default_rng(seed)
    centre, scale = float(percent.mean()), max(float(percent.std()), 1e-6)
    x = torch.from_numpy(features)
    y = torch.from_numpy(((percent - centre) / scale).astype(np.float32))[:, None]
    with own_rng(seed):
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
        miss_points = scale * float((net(x) - y).square().mean().sqrt())
    linear = [module for module in net if isinstance(module, nn.Linear)]
    layers = [(m.weight.detach().numpy().T.copy(), m.bias.detach().numpy().copy()) for m in linear]
    weight, bias = layers[-1]
    layers[-1] = (np.float32(scale) * weight, np.float32(scale) * bias + np.float32(centre))
    return tuple(layers), miss_points
