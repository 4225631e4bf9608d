"""INT8 of a real export: as accurate as fp32, repeatable, and refused where it does not pay."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from deploy_nas.adapters import graphs
from deploy_nas.adapters.images import load_images, preprocess
from deploy_nas.core.errors import (
    CheckFailedError,
    ImagesError,
    MismatchError,
    OptionError,
    ProviderError,
    RecordError,
)
from deploy_nas.core.measured import Top1
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.spaces import embedded_space, get_space
from deploy_nas.deploy import quantize
from deploy_nas.deploy.export import export_onnx
from deploy_nas.deploy.model_file import parse_model_file, read_model
from deploy_nas.deploy.quantize import quantize_model

pytestmark = pytest.mark.slow

SPACE = embedded_space()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("float") / "x.onnx"
    export_onnx(SPACE.smallest(24), path, space=SPACE)
    return read_model(path)


@pytest.fixture
def faster(monkeypatch):
    """INT8 is said to be ``times`` as fast: what a test machine measures is no test."""

    def said(times=2.0):
        monkeypatch.setattr(quantize, "compare_speed", lambda models, **how: [1.0, 1.0 / times])

    said()
    return said


def noise(count=60, side=32):
    return SimpleNamespace(images=np.random.default_rng(0).integers(0, 256, (count, 3, side, side), np.uint8))


def test_accuracy_is_kept_on_real_images(exported, tmp_path, data_dir, faster):
    calibration = load_images(data_dir / "cifar10" / "train.zip", limit_per_class=15)
    held_out = load_images(data_dir / "cifar10" / "test.zip", limit_per_class=40)
    report = quantize_model(
        exported, tmp_path / "x.int8.onnx", calibration, held_out=held_out, max_drop_points=4.0
    )
    assert report.float_top1.images == report.int8_top1.images == 400
    assert report.float_top1.percent > 65
    assert report.drop_points < 3.0  # on 10,000 images it is under one (docs/notes/export.md); 400 have noise
    assert report.agreement_percent > 93
    assert len(report.model.data) < 0.45 * len(exported.data)


def test_the_file_says_how_it_was_made(exported, tmp_path, faster):
    output = tmp_path / "x.int8.onnx"
    said = Predicted(latency_ms=0.1, profile="p8")
    report = quantize_model(exported, output, noise(), predicted=said)
    stated = graphs.inspect_model(output.read_bytes(), "x").metadata
    assert stated["precision"] == "int8" and stated["profile"] == "p8"
    unbound = {"bound_ms": None, "confidence": None}
    assert stated["predicted"] == {"latency_ms": 0.1, "profile": "p8", **unbound}
    assert stated["agreement"] is None and stated["certificate"] is None  # those were the float file's
    assert read_model(output).metadata == report.model.metadata
    assert output.read_bytes() == report.model.data
    assert stated["quantization"]["calibration_images"] == 60
    assert stated["quantization"]["chosen_for"] == report.quantization.chosen_for
    for same in ("architecture", "labels", "preprocessing", "weights", "opset"):
        assert stated[same] == graphs.inspect_model(exported.data, "x").metadata[same]
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": np.zeros((1, 3, 24, 24), np.float32)})[0].shape == (1, 10)


def test_the_same_input_gives_the_same_bytes(exported, tmp_path, faster):
    made = [quantize_model(exported, tmp_path / f"{n}.onnx", noise()).model.sha256 for n in range(2)]
    assert made[0] == made[1]


def test_int8_that_does_not_pay_is_not_written(exported, tmp_path, faster, monkeypatch):
    faster(0.9)
    with pytest.raises(CheckFailedError, match=r"not faster here .* is kept"):
        quantize_model(exported, tmp_path / "y.onnx", noise())
    faster(2.0)
    tops = iter([Top1(right=160, images=200), Top1(right=157, images=200)])
    monkeypatch.setattr(quantize, "measure_top1", lambda model, given, **how: next(tops))
    with pytest.raises(CheckFailedError, match=r"loses 1\.50 points of top-1, at most 1 allowed"):
        quantize_model(exported, tmp_path / "y.onnx", noise(), held_out=object())
    assert not list(tmp_path.iterdir())


def test_another_processors_file_is_judged_as_written_and_not_timed(exported, tmp_path, monkeypatch):
    """x86 without VNNI overflows on 8-bit weights: what it would make of them says nothing of the file."""
    monkeypatch.setattr(quantize.machine, "cpu_features", lambda: ["avx2"])
    monkeypatch.setattr(quantize.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(quantize, "compare_speed", None)
    asked = []

    def judged(model, given, *, fused=True):
        asked.append(fused)
        return Top1(right=8, images=10)

    monkeypatch.setattr(quantize, "measure_top1", judged)
    report = quantize_model(exported, tmp_path / "v.onnx", noise(), held_out=object(), processor="vnni")
    assert asked == [True, False] and report.speedup is None
    assert (
        graphs.inspect_model((tmp_path / "v.onnx").read_bytes(), "v").metadata["quantization"]["weight_bits"]
        == 8
    )
    data = (tmp_path / "v.onnx").read_bytes()
    written = quantize.predict(data, prepared(noise()), fused=False)
    floats = quantize.predict(exported.data, prepared(noise()))
    assert report.agreement_percent == pytest.approx(100.0 * float((written == floats).mean()))


def prepared(given):
    return preprocess(given.images, 24, SPACE.mean, SPACE.std)


def test_ranges_are_of_every_image(exported):
    layers = SPACE.layers(exported.metadata.architecture)
    weights = graphs.read_weights(exported.data, layers, "x")
    given = prepared(noise(99))
    before = quantize.calibrate(layers, weights, given)
    given[-1] *= 10.0
    after = quantize.calibrate(layers, weights, given)
    assert set(before) == set(after) and all(before[name] != after[name] for name in list(before)[:3])


def test_what_cannot_be_quantised(exported, tmp_path, faster):
    output = tmp_path / "x.int8.onnx"
    with pytest.raises(ImagesError, match="7 images, at least 20"):
        quantize_model(exported, output, noise(7))
    with pytest.raises(OptionError, match="max_accuracy_drop: must be from 0 to 100"):
        quantize_model(exported, output, noise(), max_drop_points=float("nan"))
    quantize_model(exported, output, noise())
    with pytest.raises(MismatchError, match="INT8 already"):
        quantize_model(read_model(output), tmp_path / "z.onnx", noise())
    other = {"architecture": {"space": SPACE.id, **SPACE.largest(24)}}
    changed = parse_model_file(graphs.with_metadata(exported.data, other), "changed.onnx")
    with pytest.raises(RecordError, match=r"changed\.onnx: has no weight"):
        quantize_model(changed, tmp_path / "z.onnx", noise())
    unsaid = parse_model_file(graphs.with_metadata(exported.data, {"preprocessing": None}), "u.onnx")
    with pytest.raises(RecordError, match=r"u\.onnx: does not say how its images are preprocessed"):
        quantize_model(unsaid, tmp_path / "z.onnx", noise())


def test_speeds_are_real(exported):
    once, again = quantize.compare_speed([exported.data] * 2, threads=1, rounds=2)
    assert 0 < once < 1000 and 0 < again < 1000


def test_both_are_timed_as_the_float_file_was_searched_for(exported, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(quantize, "compare_speed", lambda models, **how: asked.append(how) or [2.0, 1.0])
    said = {"threads": 1, "provider": "FastProvider", "provider_options": {"speed": "most"}}
    source = parse_model_file(graphs.with_metadata(exported.data, {"predicted": said}), "x.onnx")
    quantize_model(source, tmp_path / "x.int8.onnx", noise())
    assert {key: asked[0][key] for key in said} == said


def test_a_provider_that_is_not_there_is_refused_by_name(exported):
    with pytest.raises(ProviderError, match="'FastProvider'"):
        quantize.compare_speed([exported.data], threads=1, provider="FastProvider", rounds=1)


def test_the_budget_is_kept_for_the_int8_file_where_nothing_else_is_said(exported, tmp_path, faster):
    """A latency of the float file is no promise of INT8's."""
    said = {"latency_ms": 0.2, "budget_ms": 0.3, "accuracy": 80.0, "accuracy_unit": "percent", "threads": 1}
    source = parse_model_file(graphs.with_metadata(exported.data, {"predicted": said}), "x.onnx")
    held = quantize_model(source, tmp_path / "x.int8.onnx", noise()).model.metadata.predicted
    assert held == Predicted(budget_ms=0.3, accuracy=80.0, accuracy_unit="percent", threads=1)


def test_what_is_printed_as_json(exported, tmp_path, faster):
    value = json.loads(json.dumps(quantize_model(exported, tmp_path / "x.int8.onnx", noise()).to_json()))
    data = (tmp_path / "x.int8.onnx").read_bytes()
    assert (value["sha256"], value["size_bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert value["calibrated"] == value["scheme"]["calibration_images"] == 60
    assert value["speedup"] == 2.0 and value["drop_points"] is None and value["int8_top1"] is None


def test_memory_is_looked_at_before_images_are_calibrated_on(exported, tmp_path, monkeypatch):
    layers = get_space("efficientnet-lite0").layers(get_space("efficientnet-lite0").largest(224))
    needed = quantize.calibration_bytes(layers, 500, 224)
    assert 500e6 < needed < 2e9 and quantize.calibration_bytes(layers, 20, 224) < needed
    quantize.check_memory(needed, None, 500)
    quantize.check_memory(needed, needed, 500)
    monkeypatch.setattr(quantize, "available_bytes", lambda: 1_000_000)
    with pytest.raises(ImagesError, match=r"on 60 of them needs about .* 0\.0 GB are free; give fewer"):
        quantize_model(exported, tmp_path / "x.int8.onnx", noise())
    assert not list(tmp_path.iterdir())
