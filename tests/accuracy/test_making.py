"""A predictor's making is read from files of any age."""

from __future__ import annotations

import pytest

from deploy_nas.accuracy.heldout import HeldOut
from deploy_nas.accuracy.making import Making
from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.spaces import embedded_space

FULL = Making(
    held_out=HeldOut(mae_points=0.2, rank_correlation=0.9, pairs=((1.0, 2.0),), spread_points=(0.0,)),
    samples=240,
    noise_points=0.05,
    off_teacher_points=0.01,
    weights="w",
    images="i",
    image_count=5000,
    calibration="",
    seed=0,
    ensemble=1,
)


def test_round_trip() -> None:
    assert Making.from_json(Fields(FULL.to_json(), "f")) == FULL
    assert list(FULL.to_json())[:2] == ["held_out", "samples"]


def test_missing_keys_are_unknown_and_unknown_keys_are_kept() -> None:
    assert Making.from_json(Fields({}, "f")) == Making()
    assert Making().to_json() == {}
    value = {"samples": 7, "colour": ["red"]}
    read = Making.from_json(Fields(value, "f"))
    assert (read.samples, read.seed, read.extra) == (7, None, {"colour": ["red"]})
    assert read.to_json() == value


@pytest.mark.parametrize("change", [{"samples": "7"}, {"weights": 3}, {"held_out": []}, {"ensemble": 0}])
def test_wrong_types_are_named(change: dict[str, object]) -> None:
    with pytest.raises(RecordError, match=f"'{next(iter(change))}' must be"):
        Making.from_json(Fields({**FULL.to_json(), **change}, "f"))


def test_the_predictor_that_ships_says_how_it_was_made() -> None:
    about = load_accuracy_predictor(embedded_space(), "embedded").about
    assert about.held_out is not None and len(about.held_out.pairs) >= 100
    assert about.samples and about.weights and about.image_count and about.ensemble
    assert about.extra == {}
