"""The points of a report: comparable predictions of one profile, and latencies as they were timed."""

from dataclasses import replace

import pytest

from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.spaces import embedded_space
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.result import SEARCH, Asked, Candidate, SearchRecord, Timed
from deploy_nas.workflows.report_points import point_of, random_cloud, timed_before, timed_pairs

SPACE = embedded_space()


def record(architecture, **predicted):
    return ArchitectureRecord(space=SPACE, architecture=architecture, predicted=Predicted(**predicted))


WINNER = record(SPACE.smallest(24), latency_ms=0.2)


@pytest.fixture(scope="module")
def given(made_profile):
    return made_profile(), load_accuracy_predictor(SPACE, "embedded")


@pytest.fixture
def result():
    """Of a search that timed the winner, another subnet, and one without a prediction."""
    timed = [
        (WINNER, 0.21),
        (record(SPACE.largest(32), latency_ms=0.9), 1.0),
        (record(SPACE.largest(28)), 0.8),
    ]
    return SearchRecord(
        kind=SEARCH,
        space=SPACE,
        asked=Asked(),
        history=(),
        evaluations=10,
        interrupted=False,
        candidates=[
            Candidate(record=found, measured=Timed(latency_ms=ms, within_budget=True)) for found, ms in timed
        ],
    )


def test_a_point_is_what_the_profile_predicts(given):
    profile, predictor = given
    point = point_of(profile, predictor, WINNER, "a name")
    encoded = SPACE.encode([WINNER.architecture])
    assert point.latency_ms == pytest.approx(float(profile.latency_ms(encoded)[0]), abs=1e-5)
    assert point.top1 == pytest.approx(float(predictor.percent_encoded(encoded)[0]), abs=1e-3)
    assert (point.name, point.image_size, point.measured_ms) == ("a name", 24, None)
    assert point.bound_ms > point.latency_ms
    assert sum(block.latency_ms for block in point.blocks) == pytest.approx(point.latency_ms, abs=1e-4)


def test_without_a_validation_there_is_no_bound(given):
    profile, predictor = given
    assert point_of(replace(profile, pairs=()), predictor, WINNER, "").bound_ms is None


def test_figures_of_the_search_replace_our_own(given):
    found = record(SPACE.smallest(24), figures={"KBPeakMemory": 1234.0})
    assert point_of(*given, found, "").figures["KBPeakMemory"] == 1234.0


def test_what_the_search_timed(given, result):
    assert timed_before(WINNER, result) == 0.21
    assert timed_before(WINNER, None) is None and timed_before(record(SPACE.smallest(20)), result) is None
    point = replace(point_of(*given, WINNER, "winner"), measured_ms=0.22)
    pairs = timed_pairs(WINNER, result, point)
    assert pairs == [(0.9, 1.0, "candidate 2"), (point.latency_ms, 0.22, "winner")]
    assert timed_pairs(WINNER, None, replace(point, measured_ms=None)) == []


def test_the_cloud_is_the_same_every_time(given):
    cloud = random_cloud(*given)
    assert len(cloud) == 500 and cloud == random_cloud(*given)
