"""Bursts: their warm-up, their length and what is kept of them."""

import numpy as np
import pytest

from deploy_nas.device.timing import BurstSettings, Timer


@pytest.fixture
def timed(clock, fake_model):
    """``timed(times_ms)``: a timer of runs that take what the list says, then its last for ever."""

    def make(times_ms):
        left = list(times_ms)
        model = fake_model(lambda now: left.pop(0) if len(left) > 1 else left[0])
        return Timer(model, np.random.default_rng(0), clock.clocks), model

    return make


def test_a_burst_leaves_the_warm_up_out_and_lasts_as_asked(timed):
    timer, model = timed([9.0, 2.0, 1.0])
    burst = timer.burst(BurstSettings(burst_ms=50.0, least_runs=5, warmup_runs=3))
    assert burst.runs == 50  # 50 ms at the quickest warm-up's 1 ms
    assert len(model.starts_s) == 53
    assert set(burst.points_ms) == {1.0}
    assert len(burst.points_ms) == 21


def test_a_burst_runs_at_least_as_often_as_asked(timed):
    timer, _ = timed([80.0])
    assert timer.burst(BurstSettings(burst_ms=10.0, least_runs=5, warmup_runs=1)).runs == 5


def test_a_warm_up_lasts_as_long_as_asked(timed):
    timer, model = timed([1.0])
    timer.burst(BurstSettings(burst_ms=1.0, least_runs=1, warmup_runs=1, warmup_ms=10.0))
    assert len(model.starts_s) == 11


def test_the_processor_share_is_told(clock, fake_model):
    timer = Timer(fake_model(1.0, share=0.5), np.random.default_rng(0), clock.clocks)
    assert timer.burst(BurstSettings(burst_ms=10.0, least_runs=5, warmup_runs=1)).busy == 0.5


def test_a_run_that_takes_longer_than_its_pace_delays_the_next(clock, fake_model):
    model = fake_model(20.0)
    found = Timer(model, np.random.default_rng(0), clock.clocks).paced(10.0, 5)
    assert list(found) == [20.0] * 5 and np.diff(model.starts_s[-4:]) == pytest.approx(0.02)


@pytest.mark.parametrize(
    "take",
    [
        lambda timer: timer.burst(BurstSettings(burst_ms=1.0, least_runs=1, warmup_runs=1)),
        lambda timer: timer.paced(5.0, 2),
    ],
    ids=["burst", "paced"],
)
def test_runs_have_the_usual_float_mode_whatever_the_callers(clock, fake_model, take):
    seen = []
    model = fake_model(lambda now: seen.append(np.geterr()["under"]) or 1.0)
    timer = Timer(model, np.random.default_rng(0), clock.clocks)
    with np.errstate(all="raise"):
        take(timer)
    assert set(seen) == {"ignore"}


SHARED = BurstSettings(burst_ms=20.0, least_runs=5, warmup_runs=1)


def half(now_s):
    """Somebody else has half of the core for 30 of every 50 ms."""
    return 2.0 if now_s % 0.05 >= 0.02 else 1.0


def on_core(clock, fake_model, core, factor):
    return Timer(fake_model(lambda now_s: factor(now_s)), np.random.default_rng(0), clock.clocks, core)


def test_runs_beside_other_work_on_the_core_are_taken_again(clock, fake_model, slowed_core):
    core = slowed_core(half, wait_s=60.0)
    burst = on_core(clock, fake_model, core, half).burst(SHARED)
    assert burst.runs == 20 and set(burst.points_ms) == {1.0}
    assert burst.core_us == pytest.approx(40.0) and burst.busy == 1.0
    plain = on_core(clock, fake_model, None, half).burst(SHARED)
    assert 2.0 in plain.points_ms and plain.core_us is None


def test_a_burst_on_a_core_that_stays_slow_is_short_and_says_so(clock, fake_model, slowed_core):
    core = slowed_core(lambda now_s: 2.0, readings_us=[40.0])
    timer = on_core(clock, fake_model, core, lambda now_s: 2.0)
    burst = timer.burst(SHARED)
    assert burst.runs == 5 and set(burst.points_ms) == {2.0} and burst.core_us == pytest.approx(80.0)
    assert timer.on_slow_core(burst)
    quiet = on_core(clock, fake_model, slowed_core(lambda now_s: 1.0), lambda now_s: 1.0)
    assert not quiet.on_slow_core(quiet.burst(SHARED))


def test_short_runs_are_grouped_between_readings(clock, fake_model, slowed_core):
    readings = []
    core = slowed_core(lambda now_s: readings.append(now_s) or 1.0)
    burst = on_core(clock, fake_model, core, lambda now_s: 0.05).burst(SHARED)
    assert burst.runs == 400 and len(readings) == 51  # groups of 0.4 ms
