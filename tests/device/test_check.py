"""The checking kit: what it runs, and that its description and its result travel as values."""

import hashlib
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.adapters.graphs import build_model, weight_tensors
from deploy_nas.adapters.kits import BareGraph, SentinelGraph, make_check_kit
from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.seals import sealed
from deploy_nas.core.spaces import get_space
from deploy_nas.device import check
from deploy_nas.device.check import CHECK_FILE, CheckPlan, CheckResult, check_models, logits_of, main
from deploy_nas.device.initializers import random_initializers
from deploy_nas.device.measure import MeasureSettings
from deploy_nas.device.session import open_session

QUICK = MeasureSettings(rounds=2, burst_ms=0.5, least_runs=3, warmup_runs=1, warmup_ms=0.0, pause_s=0.0)


@pytest.fixture(scope="module")
def layers():
    space = get_space("ofa-mbv3-cifar10")
    return space.layers(space.smallest(24))


@pytest.fixture(scope="module")
def data(layers):
    return build_model(layers, random_initializers(weight_tensors(layers), np.random.default_rng(0)))


@pytest.fixture
def kit(data, layers):
    """A kit of two models and a sentinel."""
    sentinel = SentinelGraph(graph=build_model(layers, None), tensors=weight_tensors(layers), quiet_ms=1000.0)
    return make_check_kit({"a": data, "b: x": data}, QUICK, sentinel=sentinel)


def test_models_are_run_and_measured_beside_the_sentinel(kit, data):
    told = []
    with zipfile.ZipFile(io.BytesIO(kit)) as archive:
        found = check_models(archive, lambda *t: told.append(t))
    assert list(found.models) == ["a", "b: x"]
    here = logits_of(open_session(data)).ravel()
    for model in found.models.values():
        assert model.sha256 == hashlib.sha256(data).hexdigest()
        assert model.measured.runs >= 6 and model.measured.sentinel_ms > 0 and model.measured.busy > 0
        np.testing.assert_allclose(model.logits, here, atol=1e-4)
    assert found.device.provider == "CPUExecutionProvider"
    assert told[0] == (1, 4, "check") and told[-1] == (4, 4, "check")


def test_it_measures_as_verify_does_unless_told(data):
    with zipfile.ZipFile(io.BytesIO(make_check_kit({"a": data}, MeasureSettings(threads=2)))) as archive:
        plan = CheckPlan.from_json(Fields(json.loads(archive.read(CHECK_FILE)), "kit"))
    assert plan.settings == replace(MeasureSettings(), threads=2) and plan.sentinel is None


def test_graphs_without_weights_are_timed_only(data, layers):
    bare = BareGraph(graph=build_model(layers, None), tensors=weight_tensors(layers))
    kit = make_check_kit({"a": bare, "b": data}, QUICK, core_us=1e6)
    with zipfile.ZipFile(io.BytesIO(kit)) as archive:
        plan = CheckPlan.from_json(Fields(json.loads(archive.read(CHECK_FILE)), "kit"))
        found = check_models(archive)
    assert plan.core_us == 1e6 and plan.models["a"].unit is not None and plan.models["b"].unit is None
    assert CheckPlan.from_json(Fields(json.loads(json.dumps(plan.to_json())), "kit")) == plan
    assert found.models["a"].logits == () and found.models["a"].measured.runs >= 6
    assert len(found.models["b"].logits) == 10


def resealed(value, was, becomes):
    return json.dumps(sealed(json.loads(json.dumps(value).replace(was, becomes)))).encode()


def test_description_and_result_round_trip(kit):
    with zipfile.ZipFile(io.BytesIO(kit)) as archive:
        plan = CheckPlan.from_json(Fields(json.loads(archive.read(CHECK_FILE)), "kit"))
        found = check_models(archive)
    assert CheckPlan.from_json(Fields(json.loads(json.dumps(plan.to_json())), "kit")) == plan
    value = found.to_json()
    data = json.dumps(sealed(value)).encode()
    assert CheckResult.parse(data, "there") == found
    with pytest.raises(MismatchError, match=r"there: was edited or damaged.*run the kit again"):
        CheckResult.parse(data.replace(b'"runs": ', b'"runs": 1'), "there")
    with pytest.raises(RecordError, match="there: has no model 'c'"):
        found.model("c", "there")
    for bad, message in (
        (data[:50], "not the result of a check"),
        (resealed(value, '"runs"', '"ruins"'), "runs"),
        (resealed(value, '"device"', '"devise"'), "device"),
    ):
        with pytest.raises(RecordError, match=message):
            CheckResult.parse(bad, "there")


def test_a_model_that_was_swapped_is_refused(kit, tmp_path, capsys):
    path = tmp_path / "kit.pyz"
    with zipfile.ZipFile(io.BytesIO(kit)) as given, zipfile.ZipFile(path, "w") as swapped:
        for name in given.namelist():
            swapped.writestr(name, b"other" if name == "models/1.onnx" else given.read(name))
    assert main(["-o", str(tmp_path / "r"), "--progress", "json"], str(path)) == 2
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert last == {"error": "b: x: was changed since the kit was made; make the kit again"}
    assert not (tmp_path / "r").exists()


def test_a_model_that_gives_no_numbers_here_is_named(kit, tmp_path, capsys, monkeypatch):
    nan = np.full((1, 10), np.nan, dtype=np.float32)
    monkeypatch.setattr(check, "logits_of", lambda model: nan)
    (tmp_path / "kit.pyz").write_bytes(kit)
    assert main(["-o", str(tmp_path / "r"), "--progress", "json"], str(tmp_path / "kit.pyz")) == 2
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert last == {"error": "a: gives NaN or an infinity on this device"}
    assert not (tmp_path / "r").exists()


def test_the_program_writes_a_result(kit, tmp_path):
    (tmp_path / "kit.pyz").write_bytes(kit)
    assert main(["-o", str(tmp_path / "r")], str(tmp_path / "kit.pyz")) == 0
    assert set(CheckResult.parse((tmp_path / "r").read_bytes(), "r").models) == {"a", "b: x"}
