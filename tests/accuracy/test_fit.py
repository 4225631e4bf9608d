"""Training on made-up supernets whose truth is known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy_nas.accuracy import fit
from deploy_nas.accuracy.fit import FitSettings, fit_accuracy
from deploy_nas.accuracy.heldout import held_out_figures
from deploy_nas.accuracy.predictor import load_accuracy_predictor, save_accuracy_predictor
from deploy_nas.core.errors import OptionError, RecordError
from deploy_nas.core.space import Space
from deploy_nas.records.accuracy import AccuracyData

pytestmark = [pytest.mark.slow, pytest.mark.shared_out]

Synthetic = Callable[..., AccuracyData]
QUICK = FitSettings(hidden=(64, 64, 64), taught=3000, epochs=10, learning_rate=5e-3)


def test_300_noisy_subnets_rank_fresh_ones(space: Space, synthetic: Synthetic, tmp_path: Path) -> None:
    data = synthetic(space, 300)
    lines: list[str] = []
    predictor, held_out = fit_accuracy(data, QUICK, log=lines.append)
    assert len(held_out.pairs) == 60 and "noise" in lines[0] and "member 1/1" in lines[-1]
    assert held_out.rank_correlation > 0.93 and held_out.mae_points < 0.6
    fresh = held_out_figures(predictor, synthetic(space, 300, seed=1, noise=0.0))
    assert fresh.rank_correlation > 0.95 and fresh.mae_points < 0.5
    about = predictor.about
    assert (about.samples, about.weights, about.held_out) == (300, "w", held_out)
    path = tmp_path / "p.onnx"
    save_accuracy_predictor(predictor, path)
    read = load_accuracy_predictor(space, path)
    np.testing.assert_array_equal(read.predict_encoded(data.encoded), predictor.predict_encoded(data.encoded))
    assert read.about.to_json() == about.to_json() and read.about.image_count == 5000


def test_the_perceptron_learns_what_it_thinks_best_too(
    space: Space, synthetic: Synthetic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a first one looked at on the way to its best is added to what the next one learns."""
    climbs, train = fit._visited_by_climbs, fit._train
    found: list[tuple[Any, Any]] = []
    learnt: list[Any] = []

    def noted_climbs(space: Space, percent: Any, count: int, rng: Any) -> Any:
        found.append((percent, climbs(space, percent, count, rng)))
        return found[-1][1]

    def noted_train(features: Any, *rest: Any) -> Any:
        learnt.append(features)
        return train(features, *rest)

    monkeypatch.setattr(fit, "_visited_by_climbs", noted_climbs)
    monkeypatch.setattr(fit, "_train", noted_train)
    predictor, _ = fit_accuracy(synthetic(space, 200), replace(QUICK, taught=900, epochs=2))
    (_, of_process), (by_first, of_first) = found
    first, last = learnt
    assert len(of_process) == len(of_first) == 300 and len(first) == 200 + 600
    np.testing.assert_array_equal(last[: len(first)], first)
    np.testing.assert_array_equal(last[len(first) :], predictor.layout.features(of_first))
    assert np.ptp(by_first(of_first)) > 0 and len(np.unique(of_first, axis=0)) == 300


def test_an_image_size_that_fails_is_learnt(space: Space, synthetic: Synthetic) -> None:
    data = synthetic(space, 300)
    broken = np.where(data.encoded[:, 0] == 0, 61.0, data.top1_percent)
    predictor, held_out = fit_accuracy(replace(data, top1_percent=broken), QUICK)
    assert held_out.mae_points < 1.5
    low = predictor.predict_encoded(data.encoded[data.encoded[:, 0] == 0])
    assert np.abs(low - 61.0).mean() < 1.5


def test_seed_settles_all(space: Space, synthetic: Synthetic) -> None:
    data, quick = synthetic(space, 80), replace(QUICK, epochs=3)
    first, again = fit_accuracy(data, quick), fit_accuracy(data, quick)
    other = fit_accuracy(data, replace(quick, seed=1))
    np.testing.assert_array_equal(
        first[0].predict_encoded(data.encoded), again[0].predict_encoded(data.encoded)
    )
    assert first[1] == again[1] != other[1]


def test_ensemble_gives_a_spread(space: Space, synthetic: Synthetic) -> None:
    data = synthetic(space, 80)
    predictor, held_out = fit_accuracy(data, replace(QUICK, ensemble=3, epochs=5))
    assert len(predictor.mlp.members) == 3 and predictor.about.ensemble == 3
    assert min(held_out.spread_points) > 0.0
    assert -1.0 <= held_out.spread_correlation <= 1.0 and 0.0 <= held_out.within_two_spreads <= 1.0
    assert len(held_out.to_json()["spread_points"]) == len(held_out.pairs) == 16
    members = predictor.mlp.run(predictor.layout.features(data.encoded)).astype(np.float64)
    np.testing.assert_allclose(members.mean(axis=1), predictor.predict_encoded(data.encoded))


def test_spread_is_large_where_nothing_was_measured(space: Space, synthetic: Synthetic) -> None:
    data = synthetic(space, 120)
    known = data.encoded[:, 0] > 0  # no subnet of the smallest image size
    part = replace(data, encoded=data.encoded[known], top1_percent=data.top1_percent[known])
    predictor, _ = fit_accuracy(part, replace(QUICK, ensemble=2))
    spread = predictor.spread_encoded(synthetic(space, 200, seed=1).encoded)
    unknown = synthetic(space, 200, seed=1).encoded[:, 0] == 0
    assert spread[unknown].mean() > 1.5 * spread[~unknown].mean()


@pytest.mark.parametrize("members", [1, 2, 5])
def test_members_stand_around_the_mean(members: int) -> None:
    sides = fit._sides(members)
    assert len(sides) == members and abs(sides.mean()) < 1e-12
    assert sides.std() == pytest.approx(1.0 if members > 1 else 0.0)


def test_a_network_measured_twice_stands_on_one_side(space: Space, synthetic: Synthetic) -> None:
    data = synthetic(space, 40)
    twice = replace(
        data,
        encoded=np.concatenate([data.encoded, data.encoded]),
        top1_percent=np.concatenate([data.top1_percent, data.top1_percent]),
    )
    _, held_out = fit_accuracy(twice, replace(QUICK, epochs=1))
    measured = [m for _, m in held_out.pairs]
    assert len(measured) == 16 and len(set(measured)) == 8


def test_too_little_to_train_on(space: Space, synthetic: Synthetic) -> None:
    data = synthetic(space, 40)
    few = replace(data, encoded=data.encoded[:29], top1_percent=data.top1_percent[:29])
    none = replace(data, encoded=data.encoded[:0], top1_percent=data.top1_percent[:0])
    flat = replace(data, top1_percent=np.full(40, 50.0))
    for bad in (few, none, flat):
        with pytest.raises(RecordError, match="too few to train on"):
            fit_accuracy(bad, QUICK)


@pytest.mark.parametrize(
    "change",
    [{"ensemble": 0}, {"held_out": 0.0}, {"held_out": 0.9}, {"hidden": ()}, {"learning_rate": float("nan")}],
)
def test_settings_out_of_range(space: Space, synthetic: Synthetic, change: dict) -> None:
    with pytest.raises(OptionError, match=next(iter(change))):
        fit_accuracy(synthetic(space, 40), replace(QUICK, **change))
