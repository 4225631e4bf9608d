"""Files and bundles verified, here and on a device elsewhere."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deploy_nas.adapters import graphs
from deploy_nas.adapters.graphs import with_metadata
from deploy_nas.core.errors import (
    BudgetError,
    CheckFailedError,
    ImagesError,
    MismatchError,
    OptionError,
    ProviderError,
    RecordError,
)
from deploy_nas.core.fingerprint import Difference
from deploy_nas.core.measured import Measured, Top1
from deploy_nas.core.notices import Notice
from deploy_nas.core.seals import sealed
from deploy_nas.core.spaces import embedded_space
from deploy_nas.deploy.model_file import parse_model_file
from deploy_nas.device import machine
from deploy_nas.device.check import CheckedModel, CheckResult, logits_of
from deploy_nas.device.measure import MeasureSettings
from deploy_nas.device.session import open_session
from deploy_nas.records.bundle import MANIFEST
from deploy_nas.records.profile import save_profile
from deploy_nas.workflows import verify as workflow
from deploy_nas.workflows.verify import MeasuredTop1, VerifyRequest, verify, verify_here

SPACE = embedded_space()
TIMES = Measured(latency_ms=2.0, p50_ms=2.1, p90_ms=2.2, p99_ms=2.3, runs=9)


@pytest.fixture
def asked(monkeypatch):
    """How each measurement was asked for; none is made."""
    found = []
    monkeypatch.setattr(workflow, "measure", lambda data, **how: found.append(how) or TIMES)
    return found


@pytest.fixture
def model(model_data, tmp_path):
    """``model(batch=1, **metadata)``: the path of an exported file."""

    def make(batch=1, name="m.onnx", **said):
        path = tmp_path / name
        path.write_bytes(model_data(batch, **said))
        return path

    return make


@pytest.fixture
def here(made_profile):
    """A profile of this machine."""
    profile = made_profile()
    return replace(profile, fingerprint=machine.fingerprint_like(profile.fingerprint))


def names(results):
    return [result.name.rpartition(": ")[2] for result in results]


def test_one_reading_gives_hash_and_top1_however_often_the_file_is_swapped(
    model, model_data, asked, tmp_path, monkeypatch
):
    """Whatever replaces the file meanwhile: measured, hashed and classified is what was read first."""
    path = model(labels=list(SPACE.labels))
    first = path.read_bytes()
    other = with_metadata(first, {"labels": [*SPACE.labels[1:], SPACE.labels[0]]})
    rng = np.random.default_rng(0)
    for name in SPACE.labels[:2]:
        (tmp_path / "images" / name).mkdir(parents=True)
        pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name / "0.png")
    used = []
    for name in ("open_session", "measure_top1", "load_images", "measure"):
        held = getattr(workflow, name)

        def swapped(*given, held=held, **how):
            path.write_bytes(other if path.read_bytes() == first else first)
            used.append(given[0].data if hasattr(given[0], "data") else given[0])
            return held(*given, **how)

        monkeypatch.setattr(workflow, name, swapped)
    (found,) = verify(VerifyRequest(path=path, images=tmp_path / "images"))
    assert found.verification.sha256 == hashlib.sha256(first).hexdigest()
    assert len(used) == 4 and [u for u in used if u != tmp_path / "images"] == [first] * 3
    assert found.top1.top1.images == 2


# -- one file -------------------------------------------------------------------------------------


def test_a_file_is_measured_as_it_was_promised(model, asked):
    path = model(predicted={"latency_ms": 2.1, "bound_ms": 2.2, "budget_ms": 2.5, "threads": 1})
    (found,) = verify(VerifyRequest(path=path))
    v = found.verification
    assert found.name == str(path) and found.device is None and found.top1 is None
    assert (v.predicted_ms, v.bound_ms, v.budget_ms, v.measured) == (2.1, 2.2, 2.5, TIMES)
    assert v.within_budget is True and v.measured_on.cpu == machine.cpu_model()
    (missed,) = verify(VerifyRequest(path=path, max_latency_ms=1.0))
    assert missed.verification.within_budget is False


def test_a_prediction_of_a_provider_that_is_not_there_is_refused_by_name(model):
    path = model(predicted={"latency_ms": 2.0, "provider": "FastProvider"})
    with pytest.raises(ProviderError, match="'FastProvider'"):
        verify(VerifyRequest(path=path))


def test_a_profiles_provider_that_is_not_there_is_refused_by_name(model, made_profile, tmp_path):
    profile = made_profile()
    profile = replace(profile, fingerprint=replace(profile.fingerprint, provider="FastProvider"))
    save_profile(profile, tmp_path / "p.json")
    with pytest.raises(ProviderError, match="'FastProvider'"):
        verify(VerifyRequest(path=model(), profile=tmp_path / "p.json"))


def test_provider_and_options_are_those_of_the_prediction(model, asked, made_profile, tmp_path):
    said = {"latency_ms": 2.0, "provider": "FastProvider", "provider_options": {"speed": "most"}}
    (found,) = verify(VerifyRequest(path=model(predicted=said)))
    assert (asked[-1]["provider"], asked[-1]["provider_options"]) == ("FastProvider", {"speed": "most"})
    assert found.verification.measured_on.provider == "FastProvider"
    profile = made_profile()
    options = {"use_arena": "0"}
    profile = replace(profile, fingerprint=replace(profile.fingerprint, provider_options=options))
    save_profile(profile, tmp_path / "p.json")
    verify(VerifyRequest(path=model(predicted=said), profile=tmp_path / "p.json"))
    assert (asked[-1]["provider"], asked[-1]["provider_options"]) == ("CPUExecutionProvider", options)
    verify(VerifyRequest(path=model(predicted={"latency_ms": 2.0})))  # a file of before names none
    assert (asked[-1]["provider"], asked[-1]["provider_options"]) == ("CPUExecutionProvider", {})


def test_a_provider_that_is_there_measures_for_real(model):
    said = {"latency_ms": 2.0, "provider": "CPUExecutionProvider", "provider_options": {}}
    (found,) = verify(VerifyRequest(path=model(predicted=said)))
    assert found.verification.measured.latency_ms > 0


def test_fewer_cores_than_profiled_are_a_difference_and_threads_asked_for_an_error(model, here, monkeypatch):
    monkeypatch.setattr(workflow.machine, "threads_here", lambda threads: min(threads, 1))
    monkeypatch.setattr(workflow, "measure", lambda data, **how: TIMES)
    two = replace(here, fingerprint=replace(here.fingerprint, threads=2))
    one = parse_model_file(model().read_bytes(), "m")
    assert verify_here(one, two).differences == (Difference(name="threads", profiled=2, found=1),)
    monkeypatch.undo()
    with pytest.raises(OptionError, match="cores of this device"):
        verify_here(one, threads=4000)


def test_other_threads_than_the_profiles_are_said_and_no_speed_is_told(model, here, monkeypatch):
    slower = replace(TIMES, sentinel_ms=1.25 * here.sentinel_ms)
    monkeypatch.setattr(workflow, "measure", lambda data, **how: slower)
    one = parse_model_file(model().read_bytes(), "m")
    assert verify_here(one, here).speed == pytest.approx(0.8)
    result = verify_here(one, here, threads=2)
    assert result.speed is None and [str(d) for d in result.differences] == ["threads: profiled 1, here 2"]


def test_a_budget_that_is_none_is_named_before_anything_is_read(tmp_path):
    for budget_ms in (float("nan"), -1.0):
        with pytest.raises(BudgetError, match="max_latency_ms: must be a positive number"):
            verify(VerifyRequest(path=tmp_path / "gone.onnx", max_latency_ms=budget_ms))


def test_what_is_no_model_and_no_bundle_of_ours(tmp_path):
    import onnx

    plain = onnx.helper.make_model(
        onnx.helper.make_graph([], "g", [], []), opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(plain.SerializeToString())
    with pytest.raises(MismatchError, match="was not exported by deploy-nas"):
        verify(VerifyRequest(path=path))
    path.write_bytes(path.read_bytes()[:3])
    with pytest.raises(RecordError, match=r"m\.onnx"):
        verify(VerifyRequest(path=path))
    with pytest.raises(RecordError, match=r"not a bundle|no bundle"):
        verify(VerifyRequest(path=tmp_path))


# -- images ---------------------------------------------------------------------------------------


def test_images_are_looked_at_before_anything_is_measured(model, tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "measure", lambda *_, **__: pytest.fail("it was measured"))
    with pytest.raises(ImagesError, match="nowhere"):
        verify(VerifyRequest(path=model(), images=tmp_path / "nowhere"))
    with pytest.raises(RecordError, match="does not say how its images are preprocessed"):
        verify(VerifyRequest(path=model(preprocessing=None), images=tmp_path))


def test_images_of_other_classes_are_refused(model, pictures, monkeypatch):
    monkeypatch.setattr(workflow, "measure", lambda *_, **__: pytest.fail("it was measured"))
    labels = ["kitten" if name == "cat" else name for name in SPACE.labels]
    with pytest.raises(ImagesError, match="'cat' is not one of the model's classes"):
        verify(VerifyRequest(path=model(labels=labels), images=pictures))


def test_top1_stands_beside_what_was_predicted(model, pictures, asked):
    said = {"accuracy": 0.1, "accuracy_unit": "fraction"}
    (found,) = verify(VerifyRequest(path=model(predicted=said), images=pictures))
    assert found.top1.top1.images == 40 and found.top1.predicted_percent == pytest.approx(10.0)
    assert verify(VerifyRequest(path=model(), images=pictures))[0].top1.predicted_percent is None


def test_a_prediction_agrees_within_the_interval_alone():
    def agrees(predicted):
        return MeasuredTop1(top1=Top1(right=80, images=100), predicted_percent=predicted).agrees

    assert [agrees(p) for p in (80.0, 72.0, 60.0, 95.0, None)] == [True, True, False, False, None]


# -- bundles --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_verify_replays_a_bundle(made, asked):
    results = verify(VerifyRequest(path=made[2]))
    assert names(results) == ["model.onnx", "model.int8.onnx"] and len(asked) == 2
    assert results[0].verification.within_budget is True
    assert results[0].verification.certificate.budget_ms == 1e6
    assert results[0].verification.certificate == made[3].manifest.models["model.onnx"].certificate


@pytest.mark.slow
def test_images_are_for_one_file_not_for_a_bundle(made, pictures):
    with pytest.raises(OptionError, match="images: are for a single model, not for a bundle"):
        verify(VerifyRequest(path=made[2], images=pictures))


@pytest.mark.slow
def test_other_precisions_profile_is_refused(made, made_profile, tmp_path, asked):
    save_profile(made_profile(), tmp_path / "p.json")
    int8 = made[1].quantized.path
    with pytest.raises(MismatchError, match="holds fp32 latencies, the model is int8"):
        verify(VerifyRequest(path=int8, profile=tmp_path / "p.json"))
    results = verify(VerifyRequest(path=made[2], profile=tmp_path / "p.json"))  # the model it is of
    assert names(results) == ["model.onnx"]


@pytest.mark.slow
def test_a_graph_that_is_not_the_certified_one_is_refused(made, tmp_path):
    certificate = graphs.inspect_model(made[0].output.read_bytes(), "x").metadata["certificate"]
    other = graphs.with_metadata(made[1].quantized.path.read_bytes(), {"certificate": certificate})
    (tmp_path / "m.onnx").write_bytes(other)
    with pytest.raises(MismatchError, match="certificate is of another graph"):
        verify(VerifyRequest(path=tmp_path / "m.onnx"))


@pytest.mark.slow
def test_a_manifest_that_promises_more_than_its_model_is_refused(made, tmp_path):
    path = tmp_path / "b"
    shutil.copytree(made[2], path)
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["models"][0]["certificate"]["measured"]["latency_ms"] /= 2
    (path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(MismatchError, match=r"manifest\.json: was edited or damaged"):
        verify(VerifyRequest(path=path))
    (path / MANIFEST).write_text(json.dumps(sealed(manifest)))
    with pytest.raises(MismatchError, match="'certificate' is not the model's own"):
        verify(VerifyRequest(path=path))


@pytest.mark.slow
def test_a_bundle_of_before_is_verified(made, tmp_path, asked):
    """The manifest and the models as the version before wrote them: no provider's options, no nulls."""
    path = tmp_path / "b"
    shutil.copytree(made[2], path)
    manifest = json.loads((path / MANIFEST).read_text())
    for entry in manifest["models"]:
        file = path / entry["file"]
        held = graphs.inspect_model(file.read_bytes(), "m").metadata
        del held["certificate"]["measured_on"]["provider"], held["certificate"]["metadata_sha256"]
        old = dict.fromkeys(("certificate",), held["certificate"])
        old["predicted"] = entry["predicted"] = {**held["predicted"], "mine": [1]}
        data = graphs.with_metadata(file.read_bytes(), old)
        file.write_bytes(data)
        entry["certificate"] = held["certificate"]
        manifest["files"][entry["file"]] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": len(data),
        }
    del manifest["digest"]
    (path / MANIFEST).write_text(json.dumps(manifest | {"version": 1}))
    with pytest.warns(Notice, match=r"manifest\.json: was not written by this deploy-nas"):
        results = verify(VerifyRequest(path=path))
    assert names(results) == ["model.onnx", "model.int8.onnx"]
    assert results[0].verification.certificate.measured_on.provider == "CPUExecutionProvider"


# -- on a device elsewhere ------------------------------------------------------------------------


@pytest.mark.slow
def test_over_ssh(made, server, monkeypatch):
    how = lambda **given: MeasureSettings(rounds=3, pause_s=0.0, wait_s=0.0, **given)  # noqa: E731
    monkeypatch.setattr(workflow, "MeasureSettings", how)
    seen = []
    results = verify(
        VerifyRequest(path=made[2], target=server.url, ssh_options=server.options),
        lambda done, total, what: seen.append((done, total)),
    )
    assert names(results) == ["model.onnx", "model.int8.onnx"]
    for result in results:
        assert result.logits_apart < 1e-3 and result.verification.measured.runs >= 24
        assert "onnxruntime" in str(result.device)
    assert [result.logits_judged for result in results] == [True, False]
    assert seen
    assert not list((server.folder / "home").rglob("*.onnx"))


@pytest.fixture
def there(here, monkeypatch):
    """``there(**changes)``: what the device elsewhere gives, its logits ``apart`` from those here."""

    def make(apart=0.0, sha256=None, cut=None):
        def run(models, *_):
            found = {}
            for model in models:
                logits = logits_of(open_session(model.data)).ravel() + np.float32(apart)
                found[model.subject] = CheckedModel(
                    sha256=sha256 or model.sha256,
                    measured=TIMES,
                    logits=tuple(float(v) for v in logits[:cut]),
                )
            return CheckResult(device=replace(here.fingerprint, threads=4, precision=""), models=found)

        monkeypatch.setattr(workflow, "_run_there", run)

    return make


def test_what_was_measured_there_is_compared_as_of_there(model, there, here, tmp_path):
    there(apart=1e-5)
    save_profile(here, tmp_path / "p.json")
    request = VerifyRequest(path=model(), profile=tmp_path / "p.json", target="ssh://nowhere")
    (found,) = verify(request)
    assert found.verification.measured == TIMES and found.device.threads == 4
    assert [str(d) for d in found.verification.differences] == ["threads: profiled 1, there 4"]
    assert found.logits_judged and 0 < found.logits_apart < 1e-4


def test_other_logits_there_are_told(model, there):
    there(apart=0.1)
    with pytest.raises(CheckFailedError, match=r"differ from those here by 0\.1"):
        verify(VerifyRequest(path=model(), target="ssh://nowhere"))
    (found,) = verify(VerifyRequest(path=model(precision="int8"), target="ssh://nowhere"))
    assert not found.logits_judged and found.logits_apart == pytest.approx(0.1, abs=1e-3)


def test_another_file_or_other_logits_than_the_models_are_refused(model, there):
    request = VerifyRequest(path=model(), target="ssh://nowhere")
    there(sha256="0" * 64)
    with pytest.raises(MismatchError, match="ssh://nowhere: ran a different file than was sent"):
        verify(request)
    there(cut=3)
    with pytest.raises(RecordError, match="ssh://nowhere: returned 3 logits, the model has 10"):
        verify(request)
