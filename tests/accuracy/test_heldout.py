"""Held-out figures of predictors whose errors are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from deploy_nas.accuracy.heldout import HeldOut, held_out_figures
from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.space import Space
from deploy_nas.records.accuracy import AccuracyData, AccuracyHeader

FOUR = HeldOut(
    mae_points=1.0,
    rank_correlation=0.8,
    pairs=((80.0, 81.0), (82.0, 80.0), (90.0, 90.0), (70.0, 71.0)),
    spread_points=(0.5, 1.0, 0.2, 0.4),
)


@pytest.fixture
def data(tiny_space: Space) -> AccuracyData:
    header = AccuracyHeader(space=tiny_space, weights="w", images="i", image_count=10)
    encoded = np.array([[0, 0], [0, 1], [0, 2]], dtype=np.int64)
    return AccuracyData(header=header, encoded=encoded, top1_percent=np.array([50.0, 60.0, 70.0]))


def predictor(off: float, unit: str = "percent") -> SimpleNamespace:
    """Predicts ``50 + 10 * choice + off`` percent, with a spread of 0.02 in its unit."""
    return SimpleNamespace(
        unit=unit,
        percent_encoded=lambda rows: 50.0 + 10.0 * rows[:, 1] + off,
        spread_encoded=lambda rows: np.full(len(rows), 0.02),
    )


def test_figures_of_all_and_of_chosen_subnets(data: AccuracyData) -> None:
    figures = held_out_figures(predictor(2.0), data)
    assert (figures.mae_points, figures.rank_correlation) == (2.0, pytest.approx(1.0))
    assert figures.pairs == ((52.0, 50.0), (62.0, 60.0), (72.0, 70.0))
    assert figures.spread_points == (0.02,) * 3
    assert held_out_figures(predictor(0.0, "fraction"), data).spread_points == (2.0,) * 3
    chosen = held_out_figures(predictor(2.0), data, np.array([False, True, False]))
    assert chosen.pairs == ((62.0, 60.0),) and chosen.rank_correlation == 0.0


def test_spread_against_error() -> None:
    assert FOUR.errors_points == (-1.0, 2.0, 0.0, -1.0)
    assert FOUR.spread_correlation == pytest.approx(np.corrcoef([3, 4, 1, 2], [2.5, 4, 1, 2.5])[0, 1])
    assert FOUR.within_two_spreads == 0.75
    single = HeldOut(mae_points=1.0, rank_correlation=0.0, pairs=FOUR.pairs, spread_points=(0.0,) * 4)
    assert single.spread_correlation is None and single.within_two_spreads is None
    assert "spread_points" not in single.to_json()
    assert HeldOut.from_json(Fields(single.to_json(), "f")) == single


def test_files_are_read_back() -> None:
    value = FOUR.to_json()
    assert value["subnets"] == 4
    assert HeldOut.from_json(Fields(value, "f")) == FOUR


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": [[1.0]]}, r"pairs\[0\]: 'value' must be a pair of numbers"),
        ({"pairs": [[1.0, "x"]]}, r"pairs\[0\]"),
        ({"pairs": None}, "'pairs' must be a list"),
        ({"spread_points": [1.0]}, "'spread_points' must be a list of 4 numbers"),
        ({"mae_points": "x"}, "'mae_points' must be a finite number"),
    ],
)
def test_wrong_values_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        HeldOut.from_json(Fields({**FOUR.to_json(), **change}, "f"))
