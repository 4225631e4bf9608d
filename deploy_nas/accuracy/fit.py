"""Fit an accuracy predictor to measured subnets: the seed's MLP, with a straight line under it if that helps.

A few hundred subnets are few for 3 x 400 hidden units on about a hundred one-hot columns: the net alone
can miss what one column does (an image size at which a supernet fails), where a ridge regression does
not; on a smooth supernet the net alone is better. So each member is trained twice, on the accuracies
and on what the line leaves over, and the better one on the stopping split is kept. The line becomes one
more hidden unit a layer, never negative and so unchanged by ReLU: what is saved is a plain MLP.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy_nas.accuracy.encoding import WITH_TOTALS, feature_layout
from deploy_nas.accuracy.judge import HeldOut, judge
from deploy_nas.accuracy.predictor import AccuracyPredictor
from deploy_nas.adapters.mlp import MLP, Dense
from deploy_nas.core.errors import OptionError, RecordError
from deploy_nas.core.space import FloatArray, IntArray
from deploy_nas.records.accuracy import AccuracyData

MIN_SUBNETS = 30
_STRENGTHS = np.geomspace(0.03, 100.0, 15)

Log = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class FitSettings:
    """How a predictor is trained.

    Args:
        ensemble: members; each has its own start, order and stopping split.
        held_out: share of the subnets kept for the figures alone.
        stopping: share of the rest that early stopping watches.
        hidden: units of the three hidden layers.
        epochs: at most; the learning rate falls to 0 over them on a cosine.
        patience: epochs without a better stopping loss before it ends.
        batch_size, learning_rate, weight_decay: of AdamW.
        layout: features, see ``accuracy.encoding``.
        seed: of all that is random.
    """

    ensemble: int = 1
    held_out: float = 0.2
    stopping: float = 0.15
    hidden: tuple[int, ...] = (400, 400, 400)
    epochs: int = 100
    patience: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.3
    layout: str = WITH_TOTALS
    seed: int = 0


def fit_accuracy(
    data: AccuracyData, settings: FitSettings | None = None, *, log: Log | None = None
) -> tuple[AccuracyPredictor, HeldOut]:
    """Train on most of ``data`` and judge on the rest; the same data and settings give the same predictor.

    Args:
        data: measured subnets.
        settings: how; ``None``: the defaults.
        log: called with a line a member.

    Returns:
        The predictor, in percent, with its figures in ``about``; and those figures.

    Raises:
        RecordError: fewer than 30 subnets, or all of one accuracy.
        OptionError: a setting out of range.
    """
    settings = settings or FitSettings()
    _check(settings)
    encoded = data.header.space.canonical(data.encoded)
    # One network measured twice must not stand on both sides of the split.
    networks = np.unique(encoded, axis=0, return_inverse=True)[1].reshape(-1)
    if networks.size == 0 or int(networks.max()) + 1 < MIN_SUBNETS or np.ptp(data.top1_percent) == 0:
        raise RecordError(
            f"{len(data)} measured subnets of {np.ptp(data.top1_percent) if len(data) else 0:.2f} points of "
            f"difference are too few to train on",
            hint=f"collect at least {MIN_SUBNETS} different ones, better 300",
        )
    layout = feature_layout(data.header.space, settings.layout)
    rng = np.random.default_rng(settings.seed)
    order = rng.permutation(int(networks.max()) + 1)
    held = np.isin(networks, order[: max(5, round(settings.held_out * len(order)))])
    features = layout.features(encoded)
    members = []
    for number, seed in enumerate(rng.integers(0, 2**31, settings.ensemble)):
        layers, word = _fit_member(features[~held], data.top1_percent[~held], settings, int(seed))
        members.append(layers)
        if log is not None:
            log(f"member {number + 1}/{settings.ensemble}: {word}")
    predictor = AccuracyPredictor(space=data.header.space, layout=layout, mlp=MLP(members=tuple(members)))
    figures = judge(predictor, data, held)
    about = {
        "held_out": figures.to_json(),
        "samples": int((~held).sum()),
        "weights": data.header.weights,
        "images": data.header.images,
        "image_count": data.header.image_count,
        "calibration": data.header.calibration,
        "seed": settings.seed,
        "ensemble": settings.ensemble,
    }
    made = AccuracyPredictor(space=predictor.space, layout=layout, mlp=predictor.mlp, about=about)
    return made, figures


def _check(settings: FitSettings) -> None:
    for name in ("ensemble", "epochs", "patience", "batch_size"):
        if getattr(settings, name) < 1:
            raise OptionError(f"must be at least 1, is {getattr(settings, name)}", subject=name)
    for name in ("held_out", "stopping"):
        if not 0.0 < getattr(settings, name) <= 0.5:
            raise OptionError(f"must be above 0 and at most 0.5, is {getattr(settings, name)}", subject=name)
    if len(settings.hidden) < 1 or min(settings.hidden) < 1:
        raise OptionError("must be numbers of units, at least 1 each", subject="hidden")
    if not settings.learning_rate > 0.0 or not settings.weight_decay >= 0.0:
        raise OptionError("must be positive", subject="learning_rate, weight_decay")


# -- one member ------------------------------------------------------------------------------------


def _ridge(features: NDArray[np.float32], target: FloatArray) -> tuple[FloatArray, float]:
    """Weights ``[f]`` and offset of the ridge regression with the least leave-one-out error."""
    centre, level = features.mean(axis=0, dtype=np.float64), float(target.mean())
    left, singular, right = np.linalg.svd(features - centre, full_matrices=False)
    projected = left.T @ (target - level)
    best_error, best = np.inf, np.zeros(len(centre))
    for strength in _STRENGTHS:
        kept = singular**2 / (singular**2 + strength)
        leverage = 1.0 / len(target) + (left**2 * kept).sum(axis=1)
        error = float(np.mean(((target - level - left @ (kept * projected)) / (1.0 - leverage)) ** 2))
        if error < best_error:
            best_error, best = error, right.T @ (singular / (singular**2 + strength) * projected)
    return best, level - float(centre @ best)


def _fit_member(
    features: NDArray[np.float32], target: FloatArray, settings: FitSettings, seed: int
) -> tuple[tuple[Dense, ...], str]:
    """Layers of one member, and a word on its making."""
    order = np.random.default_rng(seed).permutation(len(target))
    stop_at = max(2, round(settings.stopping * len(target)))
    watched, used = order[:stop_at], order[stop_at:]
    candidates = []
    lines = {"alone": (np.zeros(features.shape[1]), 0.0), "with a line": _ridge(features[used], target[used])}
    for name, (line, offset) in lines.items():
        left_over = target - (features @ line + offset)
        centre, scale = float(left_over[used].mean()), max(float(left_over[used].std()), 1e-6)
        layers, loss, epochs = _train(
            features, (left_over - centre) / scale, watched, used, settings, seed, from_zero=name != "alone"
        )
        error = scale * loss**0.5
        word = f"{name}, stopped after {epochs} epochs at {error:.2f} points"
        candidates.append((error, _with_line(layers, line, offset, centre, scale), word))
    _, member, word = min(candidates, key=lambda c: c[0])
    return member, word


def _train(
    features: NDArray[np.float32],
    target: FloatArray,
    watched: IntArray,
    used: IntArray,
    settings: FitSettings,
    seed: int,
    *,
    from_zero: bool,
) -> tuple[list[Dense], float, int]:
    """The MLP on a standardised target, its squared error on ``watched``, and the epochs it took."""
    import torch
    from torch import nn

    rng = np.random.default_rng(seed)
    x = torch.from_numpy(features)
    y = torch.from_numpy(target.astype(np.float32))[:, None]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        modules: list[nn.Module] = []
        width = features.shape[1]
        for units in settings.hidden:
            modules += [nn.Linear(width, units), nn.ReLU()]
            width = units
        last = nn.Linear(width, 1)
        net = nn.Sequential(*modules, last)
    if from_zero:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    best_loss, best, best_epoch, epoch = float("inf"), copy.deepcopy(net.state_dict()), 0, 0
    for epoch in range(settings.epochs + 1):
        with torch.no_grad():
            loss = float(nn.functional.mse_loss(net(x[watched]), y[watched]))
        if loss < best_loss:
            best_loss, best, best_epoch = loss, copy.deepcopy(net.state_dict()), epoch
        if epoch - best_epoch >= settings.patience or epoch == settings.epochs:
            break
        shuffled = rng.permutation(used)
        for start in range(0, len(shuffled), settings.batch_size):
            index = shuffled[start : start + settings.batch_size]
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x[index]), y[index]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
    net.load_state_dict(best)
    linear = [module for module in net if isinstance(module, nn.Linear)]
    layers = [(m.weight.detach().numpy().T.copy(), m.bias.detach().numpy().copy()) for m in linear]
    return layers, best_loss, epoch


def _with_line(
    layers: list[Dense], line: FloatArray, offset: float, centre: float, scale: float
) -> tuple[Dense, ...]:
    """The MLP of ``scale * mlp(x) + centre + line @ x + offset``, for features from 0 to 1."""
    # The unit carries line @ x - low, which is never negative; a tenth more against rounding.
    low = 1.1 * float(np.minimum(line, 0.0).sum()) - 0.1
    joined: list[Dense] = []
    for depth, (weight, bias) in enumerate(layers):
        inner, out = weight.shape
        if depth == 0:
            wide, shift = np.c_[weight, line], np.r_[bias, -low]
        elif depth < len(layers) - 1:
            wide, shift = np.zeros((inner + 1, out + 1)), np.r_[bias, 0.0]
            wide[:inner, :out], wide[inner, out] = weight, 1.0
        else:
            wide, shift = np.r_[scale * weight, [[1.0]]], scale * bias + centre + offset + low
        joined.append((wide.astype(np.float32), shift.astype(np.float32)))
    return tuple(joined)
