"""A plan timed into a journal: the header that is kept, and the journal's end."""

import contextlib

import pytest

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import MismatchError
from deploy_nas.core.plan_arguments import PlanArguments
from deploy_nas.device import machine
from deploy_nas.device import run as run_module
from deploy_nas.device.journal import read_journal
from deploy_nas.device.run import time_plan
from deploy_nas.device.runner import Runner

ARGUMENTS = PlanArguments(
    space="s", image_sizes=(24,), fit_per_size=2, validation_per_size=1, block_units=3, seed=0
)


@pytest.fixture(autouse=True)
def fake_clock(monkeypatch, clock):
    def runner(*given, **options):
        return Runner(*given, **options, clocks=clock.clocks)

    monkeypatch.setattr(run_module, "Runner", runner)


def test_the_header_says_what_was_timed_where_and_how(
    tmp_path, fake_plan, fake_runtime, settings, monkeypatch
):
    place = machine.Pinning(pinned=True, cores=(3,), quota_cores=0.5)
    monkeypatch.setattr(machine, "pinned_to", lambda threads: contextlib.nullcontext(place))
    timed = time_plan(fake_plan, settings, tmp_path / "j", arguments=ARGUMENTS, runtime=fake_runtime)
    assert len(timed.bursts) == 6
    found = read_journal(tmp_path / "j").header
    assert found == timed.header
    assert (found.plan, found.settings, found.arguments) == ("plan", settings, ARGUMENTS)
    assert found.conditions == Conditions(cores=(3,), quota_cores=0.5)
    assert found.fingerprint.runtime == "fake" and found.created.endswith("+00:00")


def test_the_journal_is_removed_when_it_was_made_use_of(tmp_path, fake_plan, fake_runtime, settings):
    seen = []
    time_plan(fake_plan, settings, tmp_path / "j", runtime=fake_runtime, finish=seen.append)
    assert len(seen[0].bursts) == 6 and not (tmp_path / "j").exists()


def test_a_use_that_fails_keeps_it(tmp_path, fake_plan, fake_runtime, settings):
    def full(content):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        time_plan(fake_plan, settings, tmp_path / "j", runtime=fake_runtime, finish=full)
    assert len(read_journal(tmp_path / "j").bursts) == 6


def test_other_settings_are_another_run(tmp_path, fake_plan, fake_runtime, settings):
    from dataclasses import replace

    time_plan(fake_plan, settings, tmp_path / "j", runtime=fake_runtime)
    with pytest.raises(MismatchError, match="settings differs"):
        time_plan(fake_plan, replace(settings, seed=1), tmp_path / "j", runtime=fake_runtime)


def test_a_run_goes_on_though_another_core_is_the_quiet_one_now(
    tmp_path, fake_plan, fake_runtime, settings, monkeypatch
):
    for core in (3, 1):
        place = machine.Pinning(pinned=True, cores=(core,))
        monkeypatch.setattr(machine, "pinned_to", lambda _, place=place: contextlib.nullcontext(place))
        timed = time_plan(fake_plan, settings, tmp_path / "j", runtime=fake_runtime)
    assert timed.header.conditions.cores == (3,)
