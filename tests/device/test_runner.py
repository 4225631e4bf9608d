"""The runner: which bursts it takes, in which order, and what it does about a slow device."""

import pytest

from deploy_nas.core.errors import RecordError
from deploy_nas.core.fingerprint import Fingerprint
from deploy_nas.device.journal import Journal, JournalHeader
from deploy_nas.device.runner import Runner, differences_percent, slow_ones, to_take_again, without_slow_ones
from deploy_nas.device.timing import Burst

DEVICE = Fingerprint(cpu="x", cores=2, machine="m", os="o", runtime_version="1")


@pytest.fixture
def run(tmp_path, clock, fake_runtime, fake_plan, settings):
    """``run(**options)``: one run of the plan on the test's journal; its bursts."""

    def once(plan=fake_plan, **options):
        header = JournalHeader(plan=plan.id, fingerprint=DEVICE, settings=settings)
        with Journal(tmp_path / "j", header) as journal:
            Runner(plan, settings, journal, clocks=clock.clocks, runtime=fake_runtime, **options).run()
            return dict(journal.bursts)

    return once


def test_every_unit_gets_its_rounds_in_passes(run, fake_plan):
    told = []
    bursts = run(progress=lambda *t: told.append(t))
    assert set(bursts) == {("fit:0", 0), ("fit:0", 1), ("fit:1", 0), ("fit:1", 1), ("row:a", 0), ("row:b", 0)}
    assert {r for _, r in list(bursts)[:4]} == {0}  # a pass over all units, then the next
    for (unit, _), (burst, beside) in bursts.items():
        assert set(burst.points_ms) == {fake_plan.ms[unit]} and beside == 1.0
    assert told[0][:2] == (0, 6) and told[-1][:2] == (6, 6)


def test_a_finished_plan_opens_the_sentinel_only(run, fake_runtime):
    first = run()
    fake_runtime.opened.clear()
    assert run() == first
    assert [model for model, _ in fake_runtime.opened] == [b"1.0"]


def test_models_are_opened_as_the_settings_say(run, fake_runtime, settings):
    run(worker_cores=(1,))
    for _, how in fake_runtime.opened:
        assert how["threads"] == settings.threads and how["worker_cores"] == (1,)
    assert any(set(how["initializers"]) == {"w"} for _, how in fake_runtime.opened)


def test_a_unit_that_is_not_in_the_plan_is_named(run, tmp_path, settings):
    header = JournalHeader(plan="plan", fingerprint=DEVICE, settings=settings)
    with Journal(tmp_path / "j", header) as journal:
        journal.add("fit:9", 0, Burst(runs=1, points_ms=(1.0,), busy=1.0), 1.0)
    with pytest.raises(RecordError, match="not in the plan: fit:9"):
        run()


def test_differences_of_one_model_timed_again_and_again():
    assert differences_percent([1.0, 1.0, 1.0]) == 0.0
    assert 8.0 < differences_percent([1.0, 1.0, 1.1]) <= 10.0


def timed(core_us, beside=1.0):
    return Burst(runs=5, points_ms=(1.0,), busy=1.0, core_us=core_us), beside


def test_slow_moments_are_left_out_but_no_unit_is():
    bursts = {("a", 0): timed(None), ("a", 1): timed(None, 2.0)}
    bursts |= {("b", 0): timed(None, 2.0), ("c", 0): timed(None)}
    kept, slow = without_slow_ones(bursts, 1.3)
    assert set(kept) == {("a", 0), ("b", 0), ("c", 0)} and slow == {("b", 0)}


@pytest.mark.usefixtures("slow_cores_count")
def test_a_slow_core_is_a_slow_moment_whatever_the_sentinel_says():
    bursts = {("a", 0): timed(40.0), ("a", 1): timed(80.0), ("b", 0): timed(80.0), ("c", 0): timed(44.0)}
    assert slow_ones(bursts, 9.0) == {("a", 1), ("b", 0)}
    kept, slow = without_slow_ones(bursts, 1.3)
    assert set(kept) == {("a", 0), ("b", 0), ("c", 0)} and slow == {("b", 0)}


@pytest.mark.usefixtures("slow_cores_count")
def test_taken_again_is_what_was_mostly_timed_in_slow_moments():
    bursts = {("a", 0): timed(40.0), ("a", 1): timed(80.0), ("b", 0): timed(80.0), ("b", 1): timed(80.0)}
    bursts |= {("b", 2): timed(41.0)}
    assert to_take_again(bursts, 9.0) == {("b", 0), ("b", 1)}
