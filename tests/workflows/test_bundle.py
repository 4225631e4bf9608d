"""From an architecture to a bundle that a bare environment runs, and that is checked again anywhere."""

import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deploy_nas.deploy.certify import certify
from deploy_nas.workflows.deploy_subnet import ExportRequest, export_subnet, quantize_subnet
from PIL import Image

from deploy_nas.adapters import graphs
from deploy_nas.core.errors import CheckFailedError, MismatchError, RecordError
from deploy_nas.core.spaces import get_space
from deploy_nas.deploy import quantize
from deploy_nas.deploy.bundle import make_bundle
from deploy_nas.deploy.verify import verify_model
from deploy_nas.records.architecture import ArchitectureRecord, save_architecture
from deploy_nas.records.bundle import MANIFEST, read_bundle
from deploy_nas.workflows import bundle as workflow
from deploy_nas.workflows.bundle import bundle_export, verify_path

pytestmark = pytest.mark.slow

SPACE = get_space("ofa-mbv3-cifar10")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Class folders of noise: 3 pictures of each of the model's classes."""
    from deploy_nas.core.spaces import CIFAR10_LABELS

    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for label in CIFAR10_LABELS:
        (folder / label).mkdir()
        for number in range(4):
            pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, pictures):
    """A request, its exported files, and the bundle made of them."""
    folder = tmp_path_factory.mktemp("made")
    predicted = {"latency_ms": 0.2, "bound_ms": 0.3, "budget_ms": 1e6, "threads": 1, "profile": "p"}
    record = ArchitectureRecord(space=SPACE, architecture=SPACE.smallest(24), predicted=predicted)
    save_architecture(record, folder / "a.json")
    request = ExportRequest(
        architecture=folder / "a.json",
        output=folder / "a.onnx",
        int8=True,
        calibration_images=pictures,
        max_accuracy_drop=100.0,
    )
    export_subnet(request)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "compare_speed", lambda models, **how: [2.0, 1.0])
        quantized = quantize_subnet(request)
    assert quantized.calibrated == 32 and quantized.int8_top1.images == 8
    manifest = bundle_export(request, quantized, folder / "b")
    return request, quantized, folder / "b", manifest


def test_the_manifest_says_it_all(made):
    request, _, path, manifest = made
    bundle = read_bundle(path)
    assert bundle.manifest.value == json.loads(json.dumps(manifest))
    assert set(bundle.files) == {"model.onnx", "model.int8.onnx", "infer.py", "README.md"}
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
    held = graphs.read_metadata(bundle.files["model.onnx"], "m")
    assert held["certificate"] == certificate
    assert request.output.read_bytes() == bundle.files["model.onnx"]


def test_verify_replays_a_bundle(made):
    results = verify_path(made[2])
    assert [r.name.rpartition(": ")[2] for r in results] == ["model.onnx", "model.int8.onnx"]
    assert results[0].verification.within_budget is True
    assert results[0].verification.certificate["budget_ms"] == 1e6
    assert all(r.verification.measured.latency_ms > 0 for r in results)


@pytest.mark.parametrize(
    ("key", "value"),
    [("labels", ["x"] * 10), ("preprocessing", {"image_size": 20}), ("architecture", {}), ("weights", {})],
)
def test_a_manifest_that_says_other_than_its_models_is_refused(made, tmp_path, key, value):
    shutil.copytree(made[2], tmp_path / "b")
    path = tmp_path / "b/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(MismatchError, match=f"'{key}' is not the model's own"):
        verify_path(tmp_path / "b")


def test_a_manifest_of_no_model_is_refused(made, tmp_path):
    shutil.copytree(made[2], tmp_path / "b")
    path = tmp_path / "b/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "models": []}))
    with pytest.raises(RecordError, match="names no model"):
        verify_path(tmp_path / "b")


def test_calibration_takes_its_limit_altogether_without_labels(made):
    from deploy_nas.workflows import deploy_subnet

    request = replace(made[0], calibration_limit=20)
    calibration, held_out = deploy_subnet._calibration(request, 24, [])
    assert len(calibration) == 20 and held_out is None


def test_images_are_held_out_whatever_the_order_of_the_labels(made):
    from deploy_nas.core.spaces import CIFAR10_LABELS
    from deploy_nas.workflows import deploy_subnet

    calibration, held_out = deploy_subnet._calibration(made[0], 24, CIFAR10_LABELS[::-1])
    assert len(calibration) == 32 and len(held_out) == 8


def test_infer_runs_in_a_bare_environment(made, bare_python, tmp_path, pictures):
    """numpy, onnxruntime and pillow only; its answer is the pipeline's own."""
    folder = tmp_path / "carried"
    shutil.copytree(made[2], folder)
    assert len((folder / "infer.py").read_text().splitlines()) <= 40
    picture = tmp_path / "wide.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 64, 3), np.uint8)).save(picture)
    deep = tmp_path / "sixteen-bits.png"
    Image.fromarray((np.arange(576).reshape(24, 24) << 6).astype(np.uint16)).save(deep)
    flat = tmp_path / "eight-bits.png"
    Image.fromarray((np.arange(576).reshape(24, 24) >> 2).astype(np.uint8)).save(flat)
    command = [bare_python, folder / "infer.py", picture, pictures / "cat/0.png", deep, flat]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0].split()
    assert len({line.split(maxsplit=1)[1] for line in done.stdout.splitlines()[2:]}) == 1

    from deploy_nas.adapters.images import load_images, preprocess
    from deploy_nas.deploy.top1 import predict

    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(picture, alone)
    x = preprocess(load_images(alone, labelled=False, size=24).images, 24, SPACE.mean, SPACE.std)
    expected = predict((folder / "model.int8.onnx").read_bytes(), x)[0]
    assert first[1] == made[3]["labels"][expected]
    missing = subprocess.run([bare_python, folder / "infer.py", "gone.png"], capture_output=True, text=True)
    assert missing.returncode == 1 and "gone.png" in missing.stderr and "Traceback" not in missing.stderr


def test_a_file_swapped_after_verification_is_refused(made, tmp_path):
    request, quantized, _, _ = made
    path = tmp_path / "a.onnx"
    shutil.copy(request.output, path)
    found = verify_model(path)
    data = path.read_bytes()
    path.write_bytes(graphs.with_metadata(data, {"note": "swapped"}))
    with pytest.raises(MismatchError, match="changed after it was verified"):
        certify(path, found, threads=1)
    path.write_bytes(data)
    sha256 = certify(path, found, threads=1)
    shutil.copy(quantized.path, path)
    with pytest.raises(MismatchError, match="changed after it was verified"):
        make_bundle([(path, sha256)], tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_graph_that_is_not_the_certified_one_is_refused(made, tmp_path):
    data = made[0].output.read_bytes()
    certificate = graphs.read_metadata(data, "x")["certificate"]
    other = made[1].path.read_bytes()
    path = tmp_path / "m.onnx"
    path.write_bytes(graphs.with_metadata(other, {"certificate": certificate}))
    with pytest.raises(MismatchError, match="certificate is of another graph"):
        verify_path(path)


def test_a_file_that_was_never_verified_is_not_bundled(made, tmp_path):
    data = graphs.with_metadata(made[0].output.read_bytes(), {"certificate": None})
    (tmp_path / "m.onnx").write_bytes(data)
    import hashlib

    with pytest.raises(MismatchError, match="was not verified"):
        make_bundle([(tmp_path / "m.onnx", hashlib.sha256(data).hexdigest())], tmp_path / "b")


def test_a_manifest_that_promises_more_than_its_model_is_refused(made, tmp_path):
    path = tmp_path / "b"
    shutil.copytree(made[2], path)
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["models"][0]["certificate"]["measured"]["latency_ms"] /= 2
    (path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(MismatchError, match="'certificate' is not the model's own"):
        verify_path(path)


def test_other_precisions_profile_is_refused(made, made_profile, tmp_path):
    from deploy_nas.records.profile import save_profile

    profile = made_profile()
    save_profile(profile, tmp_path / "p.json")
    with pytest.raises(MismatchError, match="holds fp32 latencies, the model is int8"):
        verify_path(made[1].path, profile=tmp_path / "p.json")
    results = verify_path(made[2], profile=tmp_path / "p.json")  # of a bundle, the model it is of
    assert [r.name.rpartition(": ")[2] for r in results] == ["model.onnx"]


# -- on a device elsewhere ------------------------------------------------------------------------


def test_over_ssh(made, server):
    seen = []
    results = verify_path(
        made[2],
        target=server.url,
        ssh_options=server.options,
        progress=lambda done, total, what: seen.append((done, total)),
    )
    assert [r.name.rpartition(": ")[2] for r in results] == ["model.onnx", "model.int8.onnx"]
    for result in results:
        assert result.logits_apart < 1e-3 and result.verification.measured.runs >= 96
        assert "onnxruntime" in result.device
    assert seen
    assert not list((server.folder / "home").rglob("*.onnx"))


def test_other_logits_there_are_told(made, monkeypatch):
    def run_there(models, *rest):
        name, data = next(iter(models.items()))
        here = workflow.logits_of(workflow.open_session(data)).ravel() + 0.1
        times = dict.fromkeys(("latency_ms", "p50_ms", "p90_ms", "p99_ms"), 1.0)
        sha256 = hashlib.sha256(data).hexdigest()
        found = {name: {**times, "runs": 9, "sha256": sha256, "logits": [float(v) for v in here]}}
        return workflow.Fields({"device": {"cpu": "fake"}, "models": found}, "there")

    monkeypatch.setattr(workflow, "_run_there", run_there)
    with pytest.raises(CheckFailedError, match=r"differ from those here by 0\.1"):
        verify_path(made[0].output, target="ssh://nowhere")


def test_calibration_images_that_cannot_be(made, tmp_path, pictures):
    from deploy_nas.core.errors import ImagesError, OptionError

    def quantize_with(folder, **changes):
        return quantize_subnet(replace(made[0], calibration_images=folder, force=True, **changes))

    with pytest.raises(OptionError, match="--int8"):
        quantize_with(None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImagesError, match="holds no images"):
        quantize_with(tmp_path / "empty")
    shutil.copytree(pictures, tmp_path / "classes")
    (tmp_path / "classes/cat").rename(tmp_path / "classes/zebra")
    with pytest.raises(ImagesError, match="'zebra' is none of the model's classes"):
        quantize_with(tmp_path / "classes")
    (tmp_path / "tiny").mkdir()
    for number in range(30):
        Image.new("RGB", (8, 8)).save(tmp_path / f"tiny/{number}.png")
    with pytest.raises(ImagesError, match="are 8 pixels, the model takes 24"):
        quantize_with(tmp_path / "tiny")


def test_what_is_no_model_of_ours(tmp_path):
    import onnx

    plain = onnx.helper.make_model(
        onnx.helper.make_graph([], "g", [], []), opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(plain.SerializeToString())
    with pytest.raises(MismatchError, match="was not exported by deploy-nas"):
        verify_path(path)
    path.write_bytes(path.read_bytes()[:3])
    with pytest.raises(RecordError, match=r"m\.onnx"):
        verify_path(path)
    with pytest.raises(RecordError, match="no bundle"):
        verify_path(Path(tmp_path))
