"""From an export to a bundle that a bare environment runs."""

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deploy_nas.adapters import graphs
from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import MismatchError, ProviderError, UnstableDeviceError
from deploy_nas.core.measured import Measured
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.spaces import embedded_space
from deploy_nas.deploy.export import export_onnx
from deploy_nas.records.bundle import read_bundle
from deploy_nas.workflows import bundle as workflow
from deploy_nas.workflows import verify as verifying
from deploy_nas.workflows.bundle import bundle
from deploy_nas.workflows.export import Exported, ExportRequest

pytestmark = pytest.mark.slow

SPACE = embedded_space()


def test_the_manifest_says_it_all(made):
    request, _, path, bundled = made
    read = read_bundle(path)
    manifest = read.said.value
    said = json.loads(json.dumps(bundled.manifest.to_json()))
    assert {key: manifest[key] for key in said} == said
    assert set(manifest) - set(said) == {"format", "version", "files", "digest"}
    assert set(read.files) == {"model.onnx", "model.int8.onnx", "infer.py", "README.md"}
    assert len(manifest["labels"]) == 10 and manifest["preprocessing"]["image_size"] == 24
    # Of 40 pictures 8 are what INT8 is judged on: no statistics are of those.
    assert manifest["weights"]["trained"] is True and manifest["weights"]["recalibrated"] == 32
    first, second = manifest["models"]
    assert (first["precision"], second["precision"]) == ("fp32", "int8")
    certificate = first["certificate"]
    assert certificate["measured"]["latency_ms"] > 0 and certificate["within_budget"] is True
    assert certificate["agreement"]["largest_difference"] <= certificate["agreement"]["allowed"]
    assert certificate["weights_sha256"] == manifest["weights"]["sha256"] and certificate["profile"] == "p"
    assert certificate["top1"]["images"] == 8
    # fp32's latency is no promise of INT8's; the budget and the threads it is for are
    assert second["predicted"] == {"budget_ms": 1e6, "threads": 1}
    assert second["certificate"]["within_budget"] is True
    held = graphs.inspect_model(read.files["model.onnx"], "m").metadata
    assert held["certificate"] == certificate
    assert request.output.read_bytes() == read.files["model.onnx"]


def test_the_exported_files_are_described_as_they_are_since(made):
    _, before, path, bundled = made
    after, files = bundled.exported, json.loads((path / "manifest.json").read_text())["files"]
    report = after.report.to_json()
    assert {key: report[key] for key in ("sha256", "size_bytes")} == files["model.onnx"]
    int8 = after.quantized.to_json()
    assert {key: int8[key] for key in ("sha256", "size_bytes")} == files["model.int8.onnx"]
    assert before.report.sha256 != after.report.sha256
    assert hashlib.sha256(after.quantized.path.read_bytes()).hexdigest() == int8["sha256"]


def test_infer_runs_in_a_bare_environment(made, bare_python, tmp_path, pictures):
    """numpy, onnxruntime and pillow only; its answer is the pipeline's own."""
    folder = tmp_path / "carried"
    shutil.copytree(made[2], folder)
    assert len((folder / "infer.py").read_text().splitlines()) <= 100
    picture = tmp_path / "wide.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 64, 3), np.uint8)).save(picture)
    deep = tmp_path / "sixteen-bits.png"
    Image.fromarray((np.arange(576).reshape(24, 24) << 6).astype(np.uint16)).save(deep)
    flat = tmp_path / "eight-bits.png"
    Image.fromarray((np.arange(576).reshape(24, 24) >> 2).astype(np.uint8)).save(flat)
    turned, clear, white = (tmp_path / name for name in ("turned.png", "clear.png", "white.png"))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(picture).rotate(90, expand=True).save(turned, exif=exif)
    Image.new("RGBA", (30, 30), (255, 0, 0, 0)).save(clear)
    Image.new("RGB", (30, 30), "white").save(white)
    given = [picture, pictures / "cat/0.png", deep, flat, clear, white, turned]
    command = [bare_python, folder / "infer.py", *given]
    home = tmp_path / "home"
    home.mkdir()
    unset = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment = {**unset, "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert not list(home.rglob("*"))  # no telemetry of onnxruntime
    first = done.stdout.splitlines()[0].split()
    said = [line.split(maxsplit=1)[1] for line in done.stdout.splitlines()]
    assert said[2] == said[3]  # 16 bits are scaled to 8
    assert said[4] == said[5]  # what transparent pixels hide is not seen
    assert said[6] == said[0]  # EXIF turns it upright

    from deploy_nas.adapters.images import load_images, preprocess
    from deploy_nas.deploy.top1 import predict

    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(picture, alone)
    x = preprocess(load_images(alone, labelled=False, size=24).images, 24, SPACE.mean, SPACE.std)
    expected = predict((folder / "model.int8.onnx").read_bytes(), x)[0]
    assert first[1] == made[3].manifest.shared.labels[expected]
    Image.fromarray(np.arange(576, dtype=np.uint16).reshape(24, 24)).save(deep)
    dark = subprocess.run([bare_python, folder / "infer.py", deep], capture_output=True, text=True)
    assert dark.returncode == 1 and "at most 14 of its 16 bits" in dark.stderr
    deep.with_suffix(".ppm").write_bytes(b"P6 8 8 65535\n" + b"\x0f\xff" * 192)  # colours
    dark = subprocess.run([bare_python, folder / "infer.py", deep.with_suffix(".ppm")], capture_output=True)
    assert dark.returncode == 1 and b"at most 14 of its 16 bits" in dark.stderr
    missing = subprocess.run([bare_python, folder / "infer.py", "gone.png"], capture_output=True, text=True)
    assert missing.returncode == 1 and "gone.png" in missing.stderr and "Traceback" not in missing.stderr


@pytest.fixture
def exported(tmp_path):
    """``exported(**predicted)``: a request, and the fp32 file it wrote."""

    def make(**predicted):
        request = ExportRequest(architecture=tmp_path / "a.json", output=tmp_path / "a.onnx", force=True)
        report = export_onnx(
            SPACE.smallest(24),
            request.output,
            space=SPACE,
            weights="random",
            predicted=Predicted(**predicted),
            force=True,
        )
        return request, Exported(report=report)

    return make


def timed(latency_ms=1.0):
    return Measured(latency_ms=latency_ms, p50_ms=1.0, p90_ms=1.0, p99_ms=1.0, runs=9)


def test_a_file_that_is_changed_while_it_is_verified_is_refused(exported, tmp_path, monkeypatch):
    request, made = exported()

    def swapped(data, **how):
        request.output.write_bytes(graphs.with_metadata(data, {"note": "swapped"}))
        return timed()

    monkeypatch.setattr(verifying, "measure", swapped)
    with pytest.raises(MismatchError, match="changed after it was verified"):
        bundle(request, made, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_prediction_of_a_provider_that_is_not_there_is_refused_by_name(exported, tmp_path):
    request, made = exported(latency_ms=0.2, provider="FastProvider")
    before = request.output.read_bytes()
    with pytest.raises(ProviderError, match="'FastProvider'"):
        bundle(request, made, tmp_path / "b")
    assert not (tmp_path / "b").exists() and request.output.read_bytes() == before


def test_the_predictions_provider_is_that_of_the_measurement(exported, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(verifying, "measure", lambda data, **how: asked.append(how) or timed())
    options = {"arena_extend_strategy": "kSameAsRequested"}
    request, made = exported(latency_ms=0.2, provider="FastProvider", provider_options=options)
    found = bundle(request, made, tmp_path / "b").manifest.shared.certificate.measured_on
    assert (asked[0]["provider"], asked[0]["provider_options"]) == ("FastProvider", options)
    assert (found.provider, found.provider_options) == ("FastProvider", options)
    assert "FastProvider" in (tmp_path / "b/README.md").read_text()


def test_top1_is_measured_on_the_images_given(exported, tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(verifying, "measure", lambda data, **how: timed())
    request, made = exported()
    said: list[str] = []
    found = workflow.bundle(replace(request, images=pictures), made, tmp_path / "b", said.append)
    assert found.manifest.shared.certificate.top1.images == 40
    assert said == ["verifying a.onnx", "bundling"]


def test_a_missed_budget_is_bundled_and_said(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(verifying, "measure", lambda data, **how: timed(2.0))
    request, made = exported(latency_ms=0.2, budget_ms=1.0)
    found = bundle(request, made, tmp_path / "b").manifest
    assert found.shared.certificate.within_budget is False and not found.keeps_budgets


def test_a_disturbed_measurement_is_certified_only_if_allowed(exported, tmp_path, monkeypatch, judging):
    busy = replace(timed(), conditions=Conditions(busy=0.5))
    monkeypatch.setattr(verifying, "measure", lambda data, **how: busy)
    request, made = exported()
    before = request.output.read_bytes()
    with pytest.raises(UnstableDeviceError, match=r"a\.onnx: was measured on an unstable machine"):
        bundle(request, made, tmp_path / "b")
    assert not (tmp_path / "b").exists() and request.output.read_bytes() == before
    found = bundle(replace(request, allow_unstable=True), made, tmp_path / "b").manifest
    assert "other work" in found.shared.certificate.measured.faults[0]
