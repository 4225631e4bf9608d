"""The measuring loop: rounds, turns, pauses, and the sentinel that tells a slow device."""

import json
from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.core.errors import OptionError, RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.measured import Paced
from deploy_nas.device.machine import Pinning
from deploy_nas.device.measure import (
    MeasureSettings,
    Sentinel,
    Watch,
    busy_share,
    measure_models,
    measure_paced,
)
from deploy_nas.device.timing import BurstSettings, Timer

QUICK = MeasureSettings(rounds=6, burst_ms=5.0, least_runs=3, warmup_runs=1, warmup_ms=0.0)
READING = BurstSettings(burst_ms=1.0, least_runs=3, warmup_runs=1)


def measure_model(model, *given, **named):
    """The result of one model alone."""
    return measure_models([model], *given, **named)[0]


def test_latency_runs_and_processor_share_of_a_steady_model(clock, fake_model):
    found = measure_model(fake_model(1.0, share=0.8), QUICK, clocks=clock.clocks)
    assert (found.latency_ms, found.p99_ms, found.runs) == (1.0, 1.0, 30)
    assert found.busy == pytest.approx(0.8) and found.sentinel_ms is None
    assert clock.slept_s == [QUICK.pause_s] * 5  # between rounds, not around them


def test_models_are_measured_by_turns(clock, fake_model):
    models = [fake_model(1.0), fake_model(2.0)]
    told = []
    found = measure_models(models, QUICK, progress=lambda *t: told.append(t), clocks=clock.clocks)
    assert [m.latency_ms for m in found] == [1.0, 2.0]
    assert told[0] == (1, 12, "measure") and told[-1] == (12, 12, "measure")
    first, second = (list(m.starts_s) for m in models)
    assert max(first[0], second[0]) < min(first[-1], second[-1])
    turns = sorted([(s, 0) for s in first] + [(s, 1) for s in second])
    order = [who for n, (_, who) in enumerate(turns) if n == 0 or turns[n - 1][1] != who]
    assert len(order) >= 7  # six rounds of two, in random order


def stretch(slow, start, end):
    return lambda now: slow if start <= now < end else 1.0


def test_a_slow_stretch_is_waited_out(clock, fake_model):
    device = stretch(3.0, 0.1, 2.0)
    sentinel = Sentinel(model=fake_model(device), quiet_ms=1.0)
    found = measure_model(fake_model(device), QUICK, sentinel, clocks=clock.clocks)
    assert found.p99_ms == 1.0 and found.sentinel_ms == 1.0
    assert sum(s for s in clock.slept_s if s != QUICK.pause_s) > 1.0


def test_bursts_beside_a_slow_sentinel_do_not_count_when_nothing_can_be_waited_for(clock, fake_model):
    device = stretch(3.0, 0.1, 0.25)
    how = replace(QUICK, wait_s=0.0)
    sentinel = Sentinel(model=fake_model(device), quiet_ms=1.0)
    found = measure_model(fake_model(device), how, sentinel, clocks=clock.clocks)
    assert found.p99_ms == 1.0
    assert measure_model(fake_model(stretch(3.0, 0.0, 9e9)), how, clocks=clock.clocks).p99_ms == 3.0


def test_a_device_that_is_never_quiet_is_measured_all_the_same(clock, fake_model):
    sentinel = Sentinel(model=fake_model(3.0), quiet_ms=1.0)
    found = measure_model(fake_model(3.0), replace(QUICK, wait_s=1.0), sentinel, clocks=clock.clocks)
    assert found.latency_ms == 3.0 and found.sentinel_ms == 3.0
    assert sum(s for s in clock.slept_s if s != QUICK.pause_s) == pytest.approx(1.0)  # and no longer


def test_a_watch_learns_the_quiet_speed_and_keeps_recent_readings(clock, fake_model):
    model = fake_model(stretch(3.0, 0.0, 1.0))
    timer = Timer(model, np.random.default_rng(0), clock.clocks)
    watch = Watch(timer, burst=READING, readings=[1.0] * 9, every_ms=40.0, wait_s=60.0)
    assert watch.quiet_ms == 1.0 and watch.wait() == 1.0  # slow at first, as an earlier run tells
    runs = len(model.starts_s)
    assert watch.wait() == 1.0 and len(model.starts_s) == runs
    clock.pass_ns(50e6)
    assert watch.wait() == 1.0 and len(model.starts_s) > runs
    assert watch.limit_ms == pytest.approx(1.3 * watch.quiet_ms)


def test_the_processor_share_asks_less_of_further_threads():
    assert busy_share([1.0] * 9 + [0.5], 1) == pytest.approx(0.95)
    assert busy_share([1.7], 2) == 1.0
    assert busy_share([0.85], 2) == pytest.approx(0.5)
    assert busy_share([1.2], 1) == 1.0


def test_settings_round_trip_and_name_what_is_wrong():
    how = replace(QUICK, threads=2, seed=3)
    value = json.loads(json.dumps(how.to_json()))
    assert MeasureSettings.from_json(Fields(value, "kit")) == how
    with pytest.raises(RecordError, match="rounds"):
        MeasureSettings.from_json(Fields({**value, "rounds": 0}, "kit"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("threads", 10**6), ("rounds", 10**9), ("burst_ms", 1e300), ("pause_s", -1.0), ("every_ms", 1e7)],
        *[("wait_s", 1e6), ("warmup_runs", 2**62), ("warmup_ms", -3), ("least_runs", 10**7)],
    ],
)
def test_settings_that_no_run_has_are_refused_by_their_key(key, value):
    with pytest.raises(RecordError, match=f"{key}'"):
        MeasureSettings.from_json(Fields(MeasureSettings().to_json() | {key: value}, "plan"))


@pytest.mark.parametrize(("every_ms", "runs"), [(1.0, 100), (100.0, 50), (1000.0, 20), (6e3, 10), (6e4, 5)])
def test_a_slow_pace_takes_a_minute_or_five_runs_and_tells_its_progress(every_ms, runs, clock, fake_model):
    said = []
    timer = Timer(fake_model(5.0), np.random.default_rng(0), clock.clocks)
    measure_paced(timer, every_ms, lambda *told: said.append(told))
    assert said[-1] == (runs, runs, "paced") and len(said) == runs


def test_a_measurement_knows_the_conditions_it_was_made_under(clock, fake_model, judging):
    place = Pinning(pinned=True, cores=(0, 1), quota_cores=1.5)
    sentinel = Sentinel(model=fake_model(1.25), quiet_ms=1.0)
    found = measure_model(fake_model(2.0), QUICK, sentinel, pinning=place, clocks=clock.clocks).conditions
    assert (found.cores, found.quota_cores, found.threads) == ((0, 1), 1.5, 1)
    assert (found.busy, found.spread_percent, found.speed) == (1.0, 0.0, 0.8) and found.faults == ()


def test_other_work_on_the_core_is_a_fault_unless_the_processor_waits_anyway(clock, fake_model, judging):
    found = measure_model(fake_model(1.0, share=0.55), QUICK, clocks=clock.clocks)
    assert found.busy == pytest.approx(0.55) and "other work" in found.faults[0]
    accelerated = measure_model(fake_model(1.0, share=0.05), QUICK, waits=True, clocks=clock.clocks)
    assert accelerated.busy is None and accelerated.faults == ()


def test_bursts_that_do_not_agree_are_a_fault(clock, fake_model, judging):
    found = measure_model(fake_model(stretch(1.5, 0.1, 9.0)), QUICK, clocks=clock.clocks)
    assert found.conditions.spread_percent == pytest.approx(50.0) and "did not repeat" in found.faults[0]


def test_a_pace_is_measured_beside_the_runs_back_to_back(clock, fake_model):
    def colder(now):  # a run after a rest takes longer
        rested, model.last = now - getattr(model, "last", now) > 0.01, now
        return 0.75 if rested else 0.25

    model = fake_model(colder)
    found = measure_model(model, replace(QUICK, every_ms=50.0, pause_s=0.0), clocks=clock.clocks)
    assert found.latency_ms == 0.25
    assert found.paced == Paced(every_ms=50.0, p50_ms=0.75, p90_ms=0.75, runs=100)
    assert np.diff(model.starts_s[-100:]) == pytest.approx(0.05)
    assert measure_model(model, QUICK, clocks=clock.clocks).paced is None


@pytest.mark.parametrize("every_ms", [-1.0, float("nan"), 1e9])
def test_a_pace_that_cannot_be_waited_for_is_refused(every_ms, clock, fake_model):
    with pytest.raises(OptionError, match="every_ms: must be above 0 and at most 60000"):
        measure_model(fake_model(1.0), replace(QUICK, every_ms=every_ms), clocks=clock.clocks)
