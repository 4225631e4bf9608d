"""Time left of a training."""

import pytest

from deploy_nas.training.progress import StepTimes


def test_time_left_counts_each_phase_by_its_own_steps():
    times = StepTimes({"largest": 10, "sandwich": 20, "frozen": 5})
    assert times.remaining_s(0) is None
    times.note("largest", 1.0)
    assert times.remaining_s(0) == 35.0  # the others are taken to be as slow
    times.note("sandwich", 2.0)
    assert times.remaining_s(10) == 20 * 2.0 + 5 * 2.0
    assert times.remaining_s(35) == 0.0


def test_one_slow_step_moves_the_estimate_little():
    times = StepTimes({"largest": 10})
    times.note("largest", 1.0)
    times.note("largest", 11.0)
    assert times.step_s["largest"] == pytest.approx(2.0)
