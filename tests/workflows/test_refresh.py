"""Bringing a profile up to date: what it says afterwards, and what is refused untouched."""

import json
from dataclasses import replace

import pytest

from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.device.openvino import OPEN_VINO
from deploy_nas.device.session import ONNX_RUNTIME
from deploy_nas.records.profile import load_profile, save_profile
from deploy_nas.records.profile_history import Speed
from deploy_nas.workflows import refresh as workflow
from deploy_nas.workflows.refresh import refresh_profile

pytestmark = pytest.mark.shared_out


@pytest.fixture
def profile(made_profile):
    here = ONNX_RUNTIME.fingerprint(
        threads=1, provider="CPUExecutionProvider", provider_options={}, precision="fp32", pinned=True
    )
    return replace(made_profile(), fingerprint=here)


@pytest.fixture
def path(profile, tmp_path):
    save_profile(profile, tmp_path / "p.json")
    return tmp_path / "p.json"


@pytest.fixture
def finds(monkeypatch):
    def at(factor):
        found = Speed(created="2026", factor=factor, sentinel_ms=1000 * factor, ratios=(factor,) * 6)
        monkeypatch.setattr(workflow, "measured_speed", lambda profile, **how: found)

    return at


def test_predictions_are_of_the_speed_now_and_the_table_stays(path, profile, finds):
    networks = profile.space.encode([profile.space.smallest(), profile.space.largest()])
    finds(1.06)
    assert refresh_profile(path).before == 1.0
    now = load_profile(path)
    assert now.latency_ms(networks) == pytest.approx(1.06 * profile.latency_ms(networks))
    layer = profile.space.layers(profile.space.smallest())[0][1]
    assert now.row(layer.key, 24).latency_ms == pytest.approx(1.06 * profile.row(layer.key, 24).latency_ms)
    assert now.id == profile.id and now.rows == profile.rows and now.version == 3
    assert (now.quiet_ms, now.slowest) == (1060.0, 1.0)
    finds(0.97)
    found = refresh_profile(path)
    assert found.before == 1.06 and found.profile.factors == (1.0, 1.06, 0.97)
    assert found.profile.slowest == pytest.approx(1.06 / 0.97)


def test_drift_between_checks_widens_the_bound_and_a_margin_replaces_it(profile):
    def at(*factors):
        speeds = tuple(
            Speed(created="", factor=f, sentinel_ms=1.0, ratios=(0.99 * f, f, 1.01 * f)) for f in factors
        )
        return replace(profile, speeds=speeds)

    steady, drifting = at(*[1.0] * 9), at(*[1.08, 1.0] * 4)
    alone = profile.upper_ratio(0.95)
    assert alone < steady.upper_ratio(0.95) < alone + 0.02
    assert drifting.upper_ratio(0.95) > 1.05
    assert drifting.upper_ratio(0.95, 1.1) == pytest.approx(1.1 * alone, abs=0.02)
    assert drifting.upper_ratio(None) == 1.0 and drifting.upper_ratio(None, 1.1) == 1.1


def test_what_is_not_of_this_device_is_refused_untouched(path, profile, finds, made_profile):
    finds(1.0)
    before = path.read_bytes()
    save_profile(made_profile(), path.with_name("other.json"))
    with pytest.raises(MismatchError, match="cpu: profiled 'fake'"):
        refresh_profile(path.with_name("other.json"))
    save_profile(replace(profile, pairs=()), path.with_name("bare.json"))
    with pytest.raises(RecordError, match="speed cannot be checked"):
        refresh_profile(path.with_name("bare.json"))
    changed = replace(profile, fingerprint=replace(profile.fingerprint, graphs="0" * 12))
    save_profile(changed, path.with_name("graphs.json"))
    with pytest.raises(MismatchError, match="graphs"):
        refresh_profile(path.with_name("graphs.json"))
    assert path.read_bytes() == before


def test_an_edited_speed_is_refused(path, finds):
    finds(1.06)
    refresh_profile(path)
    value = json.loads(path.read_text())
    value["speeds"][0]["factor"] = 1.0
    path.write_text(json.dumps(value))
    with pytest.raises(MismatchError, match="edited"):
        load_profile(path)


def test_a_profile_of_another_runtime_is_compared_with_that_runtime(profile, tmp_path, finds):
    pytest.importorskip("openvino")
    provider = OPEN_VINO.resolve("cpu")
    here = OPEN_VINO.fingerprint(
        threads=1, provider=provider, provider_options={}, precision="fp32", pinned=True
    )
    save_profile(replace(profile, fingerprint=here), tmp_path / "ov.json")
    finds(1.05)
    assert refresh_profile(tmp_path / "ov.json").profile.factor == 1.05
