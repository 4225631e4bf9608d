"""Predictions as values and in files."""

from __future__ import annotations

import pytest

from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.fingerprint import CPU_PROVIDER
from deploy_nas.core.predicted import Elsewhere, Predicted

FULL = Predicted(
    figures={"millionMACs": 12.5, "model_mb": 3.5},
    latency_ms=1.5,
    bound_ms=1.6,
    budget_ms=2.0,
    confidence=0.95,
    measured_ms=1.55,
    accuracy=0.75,
    accuracy_unit="fraction",
    accuracy_spread=0.01,
    accuracy_note="a note",
    profile="p",
    device="phone",
    provider="XnnpackExecutionProvider",
    provider_options={"threads": "2"},
    threads=2,
    precision="fp32",
    seed=0,
    picked="knee",
    others=(Elsewhere(device="pi", profile="q", latency_ms=4.0, bound_ms=4.5, budget_ms=5.0),),
    extra={"colour": "red"},
)


def read(value: object) -> Predicted:
    return Predicted.from_json(Fields(value, "f"))


def test_round_trip() -> None:
    assert read(FULL.to_json()) == FULL
    assert Elsewhere.from_json(Fields(Elsewhere(device="pi").to_json(), "f")) == Elsewhere(device="pi")


def test_unknown_values_are_left_out_but_for_the_bound_of_a_latency() -> None:
    assert Predicted().to_json() == {} and read({}) == Predicted()
    assert Predicted(latency_ms=1.0).to_json() == {"latency_ms": 1.0, "bound_ms": None, "confidence": None}
    assert not Predicted() and Predicted(seed=0)


def test_accuracy_in_percent() -> None:
    assert FULL.accuracy_percent == 75.0
    assert Predicted(accuracy=75.0, accuracy_unit="percent").accuracy_percent == 75.0
    assert Predicted().accuracy_percent is None


def test_the_provider_of_a_measurement() -> None:
    assert FULL.measured_provider == "XnnpackExecutionProvider"
    assert Predicted().measured_provider == CPU_PROVIDER


def test_another_precision_keeps_what_is_still_true() -> None:
    assert FULL.promise_for("fp32") is FULL
    int8 = FULL.promise_for("int8")
    assert int8.figures == {"millionMACs": 12.5}
    assert (int8.latency_ms, int8.bound_ms, int8.budget_ms) == (None, None, 2.0)
    assert (int8.accuracy_percent, int8.threads) == (75.0, 2)
    timed = Predicted(latency_ms=1.0, budget_ms=2.0, precision="int8")
    assert timed.promise_for("int8") is timed and timed.promise_for("fp32").budget_ms is None


def test_without_latency() -> None:
    value = FULL.without_latency().to_json()
    assert not {"latency_ms", "bound_ms", "budget_ms", "measured_ms", "confidence"} & set(value)
    assert value["accuracy"] == 0.75 and value["others"]


@pytest.mark.parametrize(
    "change",
    [
        {"latency_ms": -1},
        {"millionMACs": 0},
        {"accuracy_unit": "points"},
        {"threads": 5000},
        {"seed": -1},
        {"provider_options": {"a": 1}},
        {"others": [{}]},
    ],
    ids=str,
)
def test_wrong_values_are_named(change: dict[str, object]) -> None:
    with pytest.raises(RecordError, match=r"^f: "):
        read({**FULL.to_json(), **change})
