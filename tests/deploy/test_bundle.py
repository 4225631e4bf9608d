"""Bundles made of certified models, and opened again."""

import hashlib
import json
import os
import runpy
import shutil
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest
from PIL import Image

from deploy_nas.adapters.graphs import with_metadata
from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.measured import Measured, Top1
from deploy_nas.core.notices import Notice
from deploy_nas.core.seals import sealed
from deploy_nas.core.spaces import embedded_space
from deploy_nas.deploy import bundle
from deploy_nas.deploy.bundle import make_bundle, open_bundle
from deploy_nas.deploy.model_file import parse_model_file
from deploy_nas.records.bundle import MANIFEST
from deploy_nas.records.certificate import Certificate, MeasuredOn

SPACE = embedded_space()
ON = MeasuredOn(cpu="a small board", threads=2, runtime_version="1.2", provider="FastProvider")
WEIGHTS = {"source": "w.pth", "sha256": "a" * 64, "trained": True, "recalibrated": 0}
PREPARED = {"image_size": 24, "mean": [0.4914, 0.4822, 0.4465], "std": [0.247, 0.2435, 0.2616]}
RANDOM = {"source": "random", "sha256": None, "trained": False, "seed": 3, "recalibrated": 0}


@pytest.fixture(scope="module")
def certified(model_data):
    """``certified(latency_ms, **metadata)``: a model that was verified."""

    def make(latency_ms=1.5, budget_ms=2.0, top1=None, **said):
        model = parse_model_file(
            model_data(labels=list(SPACE.labels), **{"weights": WEIGHTS, **said}), "m.onnx"
        )
        times = dict.fromkeys(("latency_ms", "p50_ms", "p90_ms", "p99_ms"), latency_ms)
        return model.certified(
            Certificate(
                graph_sha256=model.graph_sha256,
                metadata_sha256=model.metadata_sha256,
                measured=Measured(**times, runs=9),
                measured_on=ON,
                budget_ms=budget_ms,
                within_budget=latency_ms <= budget_ms,
                top1=top1,
            )
        )

    return make


@pytest.fixture(scope="module")
def int8(certified):
    how = {"weight_bits": 8, "chosen_for": "avx512_vnni"}
    return certified(0.5, precision="int8", quantization=how, top1=Top1(right=3, images=4))


@pytest.fixture(scope="module", params=["b", "b.zip"])
def made(request, certified, int8, tmp_path_factory):
    """A bundle, and its manifest."""
    path = tmp_path_factory.mktemp("made") / request.param
    return path, make_bundle([certified(), int8], path)


def test_it_opens_as_it_was_made(made, certified, int8):
    path, manifest = made
    opened, models = open_bundle(path)
    assert [m.metadata for m in models] == [certified().metadata, int8.metadata]
    assert [m.data for m in models] == [certified().data, int8.data]
    assert [m.subject for m in models] == [f"{path}: model.onnx", f"{path}: model.int8.onnx"]
    assert set(opened.files) == {"model.onnx", "model.int8.onnx", "infer.py", "README.md"}
    assert manifest.models == {"model.onnx": certified().metadata, "model.int8.onnx": int8.metadata}
    assert manifest.shared == int8.metadata and manifest.keeps_budgets


def test_the_readme_says_what_was_measured_where(made):
    text = open_bundle(made[0])[0].files["README.md"].decode()
    rows = [line for line in text.splitlines() if line.startswith("| model")]
    where = "a small board, 2 thread(s), FastProvider, onnxruntime 1.2"
    assert rows == [
        f"| model.onnx | fp32 | 1.5 | {where} | not measured |",
        f"| model.int8.onnx | int8, for avx512_vnni | 0.5 | {where} | 75.00% of 4 images |",
    ]
    assert text.startswith(f"# {SPACE.id}, 24 pixels") and "UNTRAINED" not in text


def test_random_weights_are_said_and_a_missed_budget_shows(certified, tmp_path):
    manifest = make_bundle([certified(3.0, weights=RANDOM)], tmp_path / "b")
    assert not manifest.keeps_budgets and "UNTRAINED" in (tmp_path / "b/README.md").read_text()
    assert json.loads((tmp_path / "b" / MANIFEST).read_text())["weights"]["warning"] == "UNTRAINED"


def test_a_model_that_was_never_verified_is_not_bundled(model_data, tmp_path):
    model = parse_model_file(model_data(), "m.onnx")
    with pytest.raises(MismatchError, match=r"m\.onnx: was not verified; verify it first"):
        make_bundle([model], tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.fixture
def rewritten(certified, int8, tmp_path):
    """``rewritten(change)``: a bundle whose manifest was changed, its digest too."""
    make_bundle([certified(), int8], tmp_path / "whole")

    def make(change):
        shutil.copytree(tmp_path / "whole", tmp_path / "b")
        path = tmp_path / "b" / MANIFEST
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(sealed(value)))
        return tmp_path / "b"

    return make


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("space", "ofa-mbv3-w1.0"),
        ("labels", ["x"] * 10),
        ("preprocessing", {"image_size": 20}),
        ("preprocessing", None),
        ("architecture", {}),
        ("weights", {}),
        ("weights", {**WEIGHTS, "sha256": "b" * 64}),
    ],
)
def test_a_manifest_that_says_other_than_its_models_is_refused(rewritten, key, value):
    path = rewritten(lambda manifest: manifest.update({key: value}))
    with pytest.raises(MismatchError, match=f"model.onnx: the manifest's '{key}' is not the model's own"):
        open_bundle(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("precision", "int8"), ("predicted", {"latency_ms": 0.1}), ("predicted", 3), ("certificate", None)],
)
def test_a_manifest_that_promises_more_than_its_model_is_refused(rewritten, key, value):
    path = rewritten(lambda manifest: manifest["models"][0].update({key: value}))
    with pytest.raises(MismatchError, match=f"the manifest's '{key}' is not the model's own"):
        open_bundle(path)


def test_a_certificate_made_better_by_hand_is_refused(rewritten):
    def half(manifest):
        manifest["models"][0]["certificate"]["measured"]["latency_ms"] /= 2

    with pytest.raises(MismatchError, match="'certificate' is not the model's own"):
        open_bundle(rewritten(half))


def test_a_manifest_of_no_model_is_refused(rewritten):
    with pytest.raises(RecordError, match="does not name a model"):
        open_bundle(rewritten(lambda manifest: manifest.update(models=[])))


def test_infer_runs_a_model_as_it_was_certified(certified, tmp_path, monkeypatch, capsys):
    """A fake onnxruntime tells how its session was opened: with the certificate's threads and provider."""
    make_bundle([certified()], tmp_path / "b")
    Image.new("RGB", (30, 30), "red").save(tmp_path / "red.png")
    fake, opened = ModuleType("onnxruntime"), []

    class Session:
        def __init__(self, path, options, providers, provider_options):
            opened.append((options.intra_op_num_threads, providers, provider_options))

        def get_inputs(self):
            return [SimpleNamespace(name="image")]

        def run(self, outputs, feed):
            return [np.arange(10.0)[None]]

    fake.SessionOptions, fake.InferenceSession = SimpleNamespace, Session
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.setattr(sys, "argv", ["infer.py", str(tmp_path / "red.png")])
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    runpy.run_path(str(tmp_path / "b/infer.py"), run_name="__main__")
    assert opened == [(2, ["FastProvider"], [{}])] and os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    assert SPACE.labels[9] in capsys.readouterr().out
    assert "install numpy onnxruntime pillow" in (tmp_path / "b/README.md").read_text()


def test_infer_runs_in_openvino_what_was_certified_in_it(certified, tmp_path, monkeypatch, capsys):
    """A fake openvino tells how it was asked: in 32-bit floats, and with the certificate's threads."""
    on = replace(ON, runtime="openvino", runtime_version="2026.4.1", provider="openvino:CPU")
    model = certified()
    seal = replace(model.metadata.certificate, measured_on=on)
    make_bundle([model.certified(seal)], tmp_path / "b")
    Image.new("RGB", (30, 30), "red").save(tmp_path / "red.png")
    fake, opened = ModuleType("openvino"), []

    def infer(inputs, share_inputs):
        return [np.arange(10.0)[None]]

    def compile_model(path, device, how):
        opened.append((device, how["INFERENCE_NUM_THREADS"], how["INFERENCE_PRECISION_HINT"]))
        return SimpleNamespace(create_infer_request=lambda: SimpleNamespace(infer=infer))

    fake.compile_model = compile_model
    monkeypatch.setitem(sys.modules, "openvino", fake)
    monkeypatch.setitem(sys.modules, "openvino_telemetry", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(sys, "argv", ["infer.py", str(tmp_path / "red.png")])
    runpy.run_path(str(tmp_path / "b/infer.py"), run_name="__main__")
    assert opened == [("CPU", "2", "f32")] and SPACE.labels[9] in capsys.readouterr().out
    readme = (tmp_path / "b/README.md").read_text()
    assert "install numpy openvino pillow" in readme and "thread(s), openvino 2026.4.1" in readme


# -- files that were replaced ---------------------------------------------------------------------


@pytest.fixture
def replaced(certified, tmp_path):
    """``replaced(name, data)``: a bundle with another file of that name, and a manifest that agrees."""
    make_bundle([certified()], tmp_path / "b")

    def make(name, data):
        (tmp_path / "b" / name).write_bytes(data)
        path = tmp_path / "b" / MANIFEST
        value = json.loads(path.read_text())
        value["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        path.write_text(json.dumps(sealed(value)))
        return tmp_path / "b"

    return make


def test_a_program_that_is_not_ours_is_refused(replaced):
    program = bundle._infer()
    for other in (b"print('top-1 100%')", program + b"\n", program.replace(b"/ std", b"* std")):
        with pytest.raises(MismatchError, match=r"infer\.py: is not the program that deploy-nas puts"):
            open_bundle(replaced("infer.py", other))


def test_a_program_of_an_earlier_release_is_named(replaced, monkeypatch):
    before = b"# as it was before"
    monkeypatch.setattr(bundle, "_EARLIER_INFER", frozenset({hashlib.sha256(before).hexdigest()}))
    with pytest.warns(Notice, match=r"infer\.py: is of an earlier deploy-nas"):
        open_bundle(replaced("infer.py", before))


def test_a_readme_with_other_figures_is_named(replaced, tmp_path):
    text = (tmp_path / "b/README.md").read_bytes()
    assert b"| 1.5 |" in text
    with pytest.warns(Notice, match=r"README\.md: is not as this deploy-nas writes it"):
        open_bundle(replaced("README.md", text.replace(b"| 1.5 |", b"| 0.5 |")))


def test_a_module_beside_the_program_is_refused(replaced):
    with pytest.raises(RecordError, match=r"deploy-nas puts no 'numpy\.py' into bundles"):
        open_bundle(replaced("numpy.py", b"print('mine')"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", [*SPACE.labels[1:], SPACE.labels[0]]),
        ("preprocessing", {**PREPARED, "mean": [0.5, 0.4822, 0.4465]}),
        ("predicted", {"latency_ms": 0.1}),
        ("weights", {**WEIGHTS, "source": "better.pth"}),
    ],
)
def test_metadata_changed_in_model_and_manifest_alike_is_refused(certified, replaced, key, value):
    """The certificate covers the metadata, so digests that were made to fit do not help."""
    data = with_metadata(certified(preprocessing=PREPARED).data, {key: value})
    path = replaced("model.onnx", data)
    with pytest.raises(MismatchError, match="its certificate is of another metadata"):
        open_bundle(path)


def test_a_bundle_of_before_is_read_without_its_numbers(certified, tmp_path):
    """Neither manifest nor models had digests; the certificate was of the graph alone."""
    made = certified(predicted={"latency_ms": 0.1, "budget_ms": 2.0})
    old = replace(made.metadata.certificate, metadata_sha256=None)
    model = onnx.load_from_string(with_metadata(made.data, {"certificate": old.to_json()}))
    kept = [p for p in model.metadata_props if p.key != "digest"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    before = replace(made, data=model.SerializeToString(), metadata=replace(made.metadata, certificate=old))
    make_bundle([before], tmp_path / "b")
    manifest = tmp_path / "b" / MANIFEST
    value = json.loads(manifest.read_text()) | {"version": 1}
    del value["digest"]
    manifest.write_text(json.dumps(value))
    with pytest.warns(Notice) as told:
        _, (found,) = open_bundle(tmp_path / "b")
    assert [str(w.message).split(": was not written")[0].rpartition("/")[2] for w in told] == [
        "b: manifest.json",
        "b: model.onnx",
    ]
    assert found.metadata.certificate is None and not found.metadata.predicted
    assert found.metadata.labels == SPACE.labels
