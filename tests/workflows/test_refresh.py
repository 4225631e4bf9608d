"""Bringing a profile up to date: what it says afterwards, and what is refused untouched."""

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.adapters.targets import HereTarget
from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import MismatchError, RecordError, UnstableDeviceError
from deploy_nas.core.measured import Measured
from deploy_nas.core.seals import sealed
from deploy_nas.device.check import CHECK_FILE, CheckedModel, CheckPlan, CheckResult
from deploy_nas.device.kit import read_entry
from deploy_nas.device.measure import MeasureSettings
from deploy_nas.device.openvino import OPEN_VINO
from deploy_nas.device.session import ONNX_RUNTIME
from deploy_nas.profiling import speed
from deploy_nas.profiling.speed import checked_networks
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


class Elsewhere:
    """A stand-in for a device: answers with this fingerprint and these times, and counts kits."""

    def __init__(self, fingerprint, times_ms, address="ssh://there", sha256=None, conditions=None):
        self.fingerprint, self.times_ms, self.kits, self.removed = fingerprint, times_ms, [], []
        self.address, self.sha256, self.conditions = address, sha256, conditions

    def machine(self):
        return self.fingerprint.machine

    def run_kit(self, kit, name, progress=None, *, options=()):
        self.kits.append(zipfile.ZipFile(io.BytesIO(kit)))
        plan = CheckPlan.from_json(read_entry(self.kits[-1], CHECK_FILE))
        models = {
            name: CheckedModel(
                sha256=self.sha256 or model.sha256,
                measured=Measured.of([ms], runs=1, conditions=self.conditions),
                logits=(),
            )
            for (name, model), ms in zip(plan.models.items(), self.times_ms, strict=True)
        }
        found = CheckResult(device=self.fingerprint, models=models, created="2026-01-02T00:00:00+00:00")
        return json.dumps(sealed(found.to_json())).encode()

    def remove_kit(self, name):
        self.removed.append(name)


def of_networks(profile):
    """The profile with held-out networks of its space, that were measured as predicted."""
    drawn = profile.space.sample_encoded(np.random.default_rng(0), 8, profile.image_sizes)
    pairs = [
        replace(profile.pairs[0], choices=tuple(map(int, row)), predicted_ms=float(ms), measured_ms=float(ms))
        for row, ms in zip(drawn, profile.latency_ms(drawn), strict=True)
    ]
    return replace(profile, pairs=tuple(pairs))


@pytest.fixture
def elsewhere(profile, tmp_path):
    """``elsewhere(**changes)``: the profile's own device, elsewhere, which takes 1.2 times as long now."""
    found = of_networks(replace(profile, fingerprint=replace(profile.fingerprint, cpu="a small one")))
    save_profile(found, tmp_path / "there.json")

    def make(cpu="a small one", **changes):
        times = [1.2 * pair.measured_ms for pair in checked_networks(found)]
        fingerprint = replace(found.fingerprint, precision="", pinned=False, cpu=cpu)
        return Elsewhere(fingerprint, [*times, 1200.0], **changes)

    return make


def test_another_device_is_checked_there(elsewhere, tmp_path):
    path, device = tmp_path / "there.json", elsewhere()
    found = refresh_profile(path, target=device)
    assert found.profile.factor == pytest.approx(1.2) and found.speed.sentinel_ms == 1200.0
    assert found.speed.created == "2026-01-02T00:00:00+00:00", "when the kit ran, not when its result came"
    assert load_profile(path).factor == found.profile.factor and len(device.removed) == 1
    plan = CheckPlan.from_json(read_entry(device.kits[0], CHECK_FILE))
    assert all(one.unit is not None for one in plan.models.values()) and plan.settings.threads == 1


def test_what_another_device_or_another_kit_timed_is_refused(elsewhere, tmp_path):
    path = tmp_path / "there.json"
    before = path.read_bytes()
    with pytest.raises(MismatchError, match="at ssh://there 'another'"):
        refresh_profile(path, target=elsewhere(cpu="another"))
    with pytest.raises(MismatchError, match="other networks than were sent"):
        refresh_profile(path, target=elsewhere(sha256="0" * 64))
    with pytest.raises(MismatchError, match="name its `target`"):
        refresh_profile(path)
    assert path.read_bytes() == before


def test_a_person_is_asked_once_for_a_kit_whose_result_stays(elsewhere, tmp_path, judging):
    path, disturbed = tmp_path / "there.json", Conditions(busy=0.5)
    machine = elsewhere(conditions=disturbed)
    with pytest.raises(UnstableDeviceError, match="other work took the processor"):
        refresh_profile(path, target=machine)
    assert len(machine.kits) == 3 and machine.removed == []
    carried = elsewhere(conditions=disturbed, address=str(tmp_path / "a.pyz"))
    with pytest.raises(UnstableDeviceError):
        refresh_profile(path, target=carried)
    assert len(carried.kits) == 1 and carried.removed == []
    assert refresh_profile(path, target=carried, allow_unstable=True).profile.factor == pytest.approx(1.2)
    assert len(carried.removed) == 1


def test_a_profile_that_was_made_again_meanwhile_is_kept(path, profile, monkeypatch, made_profile):
    again = replace(profile, created="later")

    def measured(*given, **how):
        save_profile(again, path, force=True)
        return Speed(created="2026", factor=1.1, sentinel_ms=1.0, ratios=(1.1,))

    monkeypatch.setattr(workflow, "measured_speed", measured)
    with pytest.raises(MismatchError, match=f"is {again.id} now"):
        refresh_profile(path)
    assert load_profile(path).id == again.id


@pytest.mark.slow
def test_a_kit_of_graphs_without_weights_runs_for_real(profile, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "_HOW", MeasureSettings(rounds=2, burst_ms=1.0, pause_s=0.0, wait_s=0.0))
    profile = of_networks(profile)
    save_profile(profile, tmp_path / "p.json")
    found = refresh_profile(tmp_path / "p.json", target=HereTarget(tmp_path / "kits"), allow_unstable=True)
    assert found.profile.factor > 0 and len(found.speed.ratios) == 6
    assert not list((tmp_path / "kits").iterdir())


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
