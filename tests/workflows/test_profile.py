"""Profiling this device: the request, and a real short run."""

from dataclasses import replace

import pytest

from deploy_nas.core.errors import MismatchError, OutputError, ProviderError, UnknownSpaceError
from deploy_nas.core.settings import Settings
from deploy_nas.device.journal import JournalContent, JournalHeader
from deploy_nas.device.session import ONNX_RUNTIME
from deploy_nas.device.timing import Burst
from deploy_nas.records.profile import load_profile, save_profile
from deploy_nas.workflows import profile as workflow
from deploy_nas.workflows.profile import (
    ProfileRequest,
    journal_path,
    plan_for,
    profile_device,
    settings_for,
    times_path,
)


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


def timed(core_us, header):
    """A finished run of ten bursts, the first six beside a reading of the core that is given."""
    burst = lambda i: Burst(runs=5, points_ms=(1.0,), busy=1.0, core_us=core_us if i < 6 else 40.0)  # noqa: E731
    bursts = {(f"fit:{i}", 0): (burst(i), 1.0) for i in range(10)}
    return JournalContent(header=header, bursts=bursts, whole_bytes=5, duration_s=1.0)


def test_the_times_of_a_run_that_was_mostly_disturbed_are_where_the_next_one_begins(
    request_, monkeypatch, made_profile, slow_cores_count
):
    fake_profile = made_profile()
    header = JournalHeader(plan="p", fingerprint=fake_profile.fingerprint, settings=Settings())
    begun = []

    def run(core_us):
        def time_plan(plan, settings, path, *, earlier, finish, **others):
            begun.append(earlier())
            path.write_bytes(b"times")
            finish(timed(core_us, header))
            path.unlink()

        monkeypatch.setattr(workflow, "time_plan", time_plan)
        monkeypatch.setattr(workflow, "profile_of", lambda *given: fake_profile)
        profile_device(replace(request_, force=True))

    run(80.0)
    assert times_path(request_.output).read_bytes() == b"times"
    run(41.0)
    assert not times_path(request_.output).exists()
    run(41.0)
    assert begun == [None, b"times", None]


def test_a_table_is_carried_over_to_another_runtime(request_, monkeypatch, made_profile, tmp_path):
    pytest.importorskip("openvino")
    here = ONNX_RUNTIME.fingerprint(
        threads=1, provider="CPUExecutionProvider", provider_options={}, precision="fp32", pinned=True
    )
    save_profile(replace(made_profile(), fingerprint=here), tmp_path / "ort.json")
    begun = []
    monkeypatch.setattr(workflow, "time_plan", lambda plan, settings, *_, **__: begun.append(settings))
    asked = replace(request_, provider="openvino:cpu", like=[tmp_path / "ort.json"], allow_unstable=True)
    with pytest.raises(IndexError):  # nothing was timed
        profile_device(asked)
    assert begun[0].provider == "openvino:cpu"
    with pytest.raises(MismatchError, match="is of this device, runtime"):
        profile_device(replace(asked, provider="cpu"))
