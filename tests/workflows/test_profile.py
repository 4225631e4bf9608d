"""Profiling this device: the request, and a real short run."""

from dataclasses import replace

import pytest

from deploy_nas.core.errors import OutputError, ProviderError, UnknownSpaceError
from deploy_nas.core.settings import Settings
from deploy_nas.records.profile import load_profile
from deploy_nas.workflows import profile as workflow
from deploy_nas.workflows.profile import ProfileRequest, journal_path, plan_for, profile_device, settings_for


@pytest.fixture
def request_(tmp_path):
    return ProfileRequest(space="ofa-mbv3-cifar10", output=tmp_path / "p.json", image_sizes=[24], quick=True)


def test_a_quick_request_takes_fewer_and_shorter_bursts(request_):
    quick, full = settings_for(request_), settings_for(replace(request_, quick=False, threads=2))
    assert quick.rounds < full.rounds == Settings().rounds and quick.burst_ms < full.burst_ms
    assert full.threads == 2
    assert len(plan_for(request_).fit) < len(plan_for(replace(request_, quick=False)).fit)


@pytest.mark.slow
def test_a_profile_has_the_devices_fingerprint_and_the_settings(request_, monkeypatch, quick_settings):
    whole = workflow.settings_for
    monkeypatch.setattr(workflow, "settings_for", lambda asked: replace(whole(asked), **quick_settings))
    made = workflow.make_plan  # a kit's test times all networks of a quick plan
    few = {"fit_per_size": 6, "validation_per_size": 3}
    monkeypatch.setattr(workflow, "make_plan", lambda *a, **k: replace(made(*a, **k), **few))
    heard, told = [], []
    profile = profile_device(request_, lambda *t: told.append(t), heard.append)
    assert load_profile(request_.output) == profile
    assert profile.settings.rounds == 2 and profile.fingerprint.provider == "CPUExecutionProvider"
    assert profile.fingerprint.graphs == plan_for(request_).graph_form
    assert "A/A test" in heard[0] and told[-1][0] == told[-1][1]
    assert not journal_path(request_.output).exists()


def test_nothing_is_timed_for_a_request_that_cannot_be(request_):
    request_.output.write_text("kept")
    with pytest.raises(OutputError, match="exists already"):
        profile_device(request_)
    forced = replace(request_, force=True)
    with pytest.raises(UnknownSpaceError):
        profile_device(replace(forced, space="no-such-space"))
    with pytest.raises(ProviderError, match="provider"):
        profile_device(replace(forced, provider="abacus"))
    assert request_.output.read_text() == "kept" and not journal_path(request_.output).exists()
