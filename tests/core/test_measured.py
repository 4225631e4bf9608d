"""Measurements: definitions and files."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.measured import Measured, Paced, Top1, latency_of
from deploy_nas.core.reading import Reading

POINTS = [1.0, 2.0, 3.0, 4.0, 5.0]
TIMES = Measured.of(POINTS, runs=50)


def test_latency_is_the_lower_quartile() -> None:
    assert latency_of(POINTS) == 2.0 and latency_of(np.array([7.0])) == 7.0


def test_statistics_and_round_trip() -> None:
    measured = Measured.of(POINTS, runs=50, sentinel_ms=0.5)
    assert (measured.latency_ms, measured.p50_ms, measured.p90_ms) == (2.0, 3.0, 4.6)
    value = measured.to_json()
    assert "busy" not in value and value["sentinel_ms"] == 0.5
    assert Measured.from_json(Fields(value, "f")) == measured


@pytest.mark.parametrize("change", [{"runs": 0}, {"p50_ms": -1.0}, {"latency_ms": None}, {"busy": "x"}])
def test_wrong_values_are_named(change: dict[str, object]) -> None:
    value = Measured.of(POINTS, runs=50).to_json()
    with pytest.raises(RecordError, match=f"'{next(iter(change))}' must be"):
        Measured.from_json(Fields({**value, **change}, "f"))


def test_top1_and_its_interval() -> None:
    top1 = Top1(right=75, images=100)
    assert top1.percent == 75.0
    low, high = top1.interval_percent  # Wilson's interval of 75 in 100
    assert (low, high) == (pytest.approx(65.7, abs=0.1), pytest.approx(82.5, abs=0.1))
    assert Top1(right=0, images=10).interval_percent[0] == pytest.approx(0.0, abs=1e-9)
    assert Top1.from_json(Fields(top1.to_json(), "f")) == top1  # as files of before, without a reading
    read = replace(top1, reading=Reading(used=100, turned=3))
    assert Top1.from_json(Fields(read.to_json(), "f")) == read


def test_files_of_before_have_the_share_of_the_processor_alone() -> None:
    value = {**TIMES.to_json(), "busy": 0.5}
    assert Measured.from_json(Fields(value, "f")).conditions == Conditions(busy=0.5)


def test_a_pace_and_conditions_travel_along() -> None:
    paced = Paced.of([0.5, 0.75, 0.75], 50.0)
    assert paced == Paced(every_ms=50.0, p50_ms=0.75, p90_ms=0.75, runs=3)
    found = replace(TIMES, paced=paced, conditions=Conditions(cores=(1,), busy=0.9))
    assert Measured.from_json(Fields(json.loads(json.dumps(found.to_json())), "f")) == found
    assert found.busy == 0.9 and TIMES.busy is None and TIMES.faults == ()
