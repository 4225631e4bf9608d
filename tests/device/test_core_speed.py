"""A core that is slow at times: what readings tell, and how long is waited."""

import math

import pytest

from deploy_nas.device.core_speed import CoreSpeed, arithmetic, slow_above_us


@pytest.fixture
def core(slowed_core):
    return slowed_core(lambda now_s: 2.0 if 0.5 <= now_s < 0.8 else 1.0)


def test_a_reading_is_the_time_of_a_piece_of_work_and_half_a_core_is_slow(clock, core):
    assert core.read() == pytest.approx(40.0) and not core.slow(40.0)
    assert not core.slow(50.0) and core.slow(80.0)  # a core that got warm, and half a core
    clock.now_ns = int(0.6e9)
    assert core.slow(core.read())


def test_slow_is_judged_by_fast_readings_whenever_they_were_taken(slowed_core):
    assert not slowed_core(lambda now_s: 2.0).slow(80.0)
    known = slowed_core(lambda now_s: 2.0, readings_us=[41.0] * 9 + [90.0] * 90)
    assert known.slow(known.read())
    assert slow_above_us([41.0] * 9 + [90.0] * 90) == pytest.approx(57.4) and slow_above_us([]) == math.inf
    assert slow_above_us([25.0] + [41.0] * 99) == pytest.approx(57.4)  # a boost at the very start


def test_a_device_that_got_hot_is_not_waited_for(clock, slowed_core):
    told = []
    core = slowed_core(
        lambda now_s: 2.0, readings_us=[40.0], wait_s=600.0, waiting=lambda: told.append(clock.now_ns)
    )
    core.wait(core.read())
    assert 30.0 < clock.now_ns / 1e9 < 61.0 and not core.slow(80.0)
    assert len(told) == int(clock.now_ns / 1e9) or len(told) == int(clock.now_ns / 1e9) - 1


def test_a_slow_moment_is_waited_for_without_a_rest(clock, slowed_core):
    core = slowed_core(lambda now_s: 2.0 if now_s < 0.3 else 1.0, readings_us=[40.0], wait_s=60.0)
    assert core.wait(core.read()) == pytest.approx(40.0)
    assert clock.now_ns == pytest.approx(0.3e9, rel=0.01) and clock.slept_s == []


def test_no_more_is_waited_than_was_allowed_and_twice_what_counts(clock, slowed_core):
    core = slowed_core(lambda now_s: 2.0, readings_us=[40.0], wait_s=0.0)
    core.spent(9.0, counts=True)
    assert not core.may_wait  # a run that takes the device as it is

    core = slowed_core(lambda now_s: 2.0, readings_us=[40.0], wait_s=0.1)
    assert core.slow(core.wait(core.read())) and not core.may_wait
    assert clock.now_ns == pytest.approx(0.1e9, rel=0.01)
    core.spent(0.04, counts=True)
    core.spent(0.03, counts=False)
    assert core.may_wait and core.slow(core.wait(core.read()))
    assert clock.now_ns == pytest.approx(0.15e9, rel=0.01)
    core.spent(9.0, counts=True)
    core.wait(core.read())
    assert clock.now_ns == pytest.approx(0.25e9, rel=0.01)


def test_the_piece_of_work_takes_time_on_a_real_clock():
    arithmetic()
    assert 1.0 < min(CoreSpeed().read() for _ in range(20)) < 5_000.0
