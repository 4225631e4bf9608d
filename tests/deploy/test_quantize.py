"""INT8 of a real export: as accurate as fp32, repeatable, and refused where it does not pay."""

from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from deploy_nas.deploy.claims import model_architecture

from deploy_nas.adapters import graphs
from deploy_nas.adapters.images import load_images, preprocess
from deploy_nas.core.errors import CheckFailedError, ImagesError, MismatchError, OptionError, RecordError
from deploy_nas.core.spaces import get_space
from deploy_nas.deploy import quantize
from deploy_nas.deploy.export import export_onnx
from deploy_nas.deploy.quantize import quantize_onnx

pytestmark = pytest.mark.slow

SPACE = get_space("ofa-mbv3-cifar10")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("float") / "x.onnx"
    export_onnx(SPACE.smallest(24), path, space=SPACE)
    return path


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
    report = quantize_onnx(
        exported, tmp_path / "x.int8.onnx", calibration, held_out=held_out, max_drop_points=4.0
    )
    assert report.float_top1.images == report.int8_top1.images == 400
    assert report.float_top1.percent > 65
    assert report.drop_points < 3.0  # on 10,000 images it is under one (docs/notes/export.md); 400 have noise
    assert report.agreement_percent > 93
    assert report.size_bytes < 0.45 * exported.stat().st_size


def test_the_file_says_how_it_was_made(exported, tmp_path, faster):
    output = tmp_path / "x.int8.onnx"
    report = quantize_onnx(exported, output, noise(), predicted={"latency_ms": 0.1, "profile": "p8"})
    stated = graphs.read_metadata(output.read_bytes(), "x")
    assert stated["precision"] == "int8" and stated["profile"] == "p8"
    assert stated["predicted"] == {"latency_ms": 0.1, "profile": "p8"}
    assert stated["quantization"]["calibration_images"] == 60
    assert stated["quantization"]["chosen_for"] == report.scheme["chosen_for"]
    for same in ("architecture", "labels", "preprocessing", "weights", "opset"):
        assert stated[same] == graphs.read_metadata(exported.read_bytes(), "x")[same]
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": np.zeros((1, 3, 24, 24), np.float32)})[0].shape == (1, 10)


def test_the_same_input_gives_the_same_bytes(exported, tmp_path, faster):
    made = [quantize_onnx(exported, tmp_path / f"{n}.onnx", noise()).sha256 for n in range(2)]
    assert made[0] == made[1]


def test_int8_that_does_not_pay_is_not_written(exported, tmp_path, faster, monkeypatch):
    faster(0.9)
    with pytest.raises(CheckFailedError, match=r"not faster here .* is kept"):
        quantize_onnx(exported, tmp_path / "y.onnx", noise())
    faster(2.0)
    tops = iter([SimpleNamespace(percent=80.0, images=9), SimpleNamespace(percent=78.5, images=9)])
    monkeypatch.setattr(quantize, "measure_top1", lambda data, given, **how: next(tops))
    with pytest.raises(CheckFailedError, match=r"loses 1\.50 points of top-1, 1 are allowed"):
        quantize_onnx(exported, tmp_path / "y.onnx", noise(), held_out=object())
    assert not list(tmp_path.iterdir())
    assert exported.is_file()


def test_another_processors_file_is_judged_as_written_and_not_timed(exported, tmp_path, monkeypatch):
    """x86 without VNNI overflows on 8-bit weights: what it would make of them says nothing of the file."""
    monkeypatch.setattr(quantize.machine, "cpu_features", lambda: ["avx2"])
    monkeypatch.setattr(quantize.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(quantize, "compare_speed", None)
    asked = []

    def judged(data, given, *, fused=True):
        asked.append(fused)
        return SimpleNamespace(percent=80.0, images=9)

    monkeypatch.setattr(quantize, "measure_top1", judged)
    report = quantize_onnx(exported, tmp_path / "v.onnx", noise(), held_out=object(), processor="vnni")
    assert asked == [True, False] and report.speedup is None
    assert graphs.read_metadata((tmp_path / "v.onnx").read_bytes(), "v")["quantization"]["weight_bits"] == 8
    data = (tmp_path / "v.onnx").read_bytes()
    written = quantize.predict(data, prepared(noise()), fused=False)
    floats = quantize.predict(exported.read_bytes(), prepared(noise()))
    assert report.agreement_percent == pytest.approx(100.0 * float((written == floats).mean()))


def prepared(given):
    return preprocess(given.images, 24, SPACE.mean, SPACE.std)


def test_ranges_are_of_every_image(exported):
    data = exported.read_bytes()
    layers = SPACE.layers(model_architecture(graphs.read_metadata(data, "x"), "x").architecture)
    weights = graphs.read_weights(data, layers, "x")
    given = prepared(noise(99))
    before = quantize.calibrate(layers, weights, given)
    given[-1] *= 10.0
    after = quantize.calibrate(layers, weights, given)
    assert set(before) == set(after) and all(before[name] != after[name] for name in list(before)[:3])


def test_what_cannot_be_quantised(exported, tmp_path, faster):
    output = tmp_path / "x.int8.onnx"
    with pytest.raises(ImagesError, match="7 images, at least 20"):
        quantize_onnx(exported, output, noise(7))
    with pytest.raises(OptionError, match="--max-accuracy-drop"):
        quantize_onnx(exported, output, noise(), max_drop_points=float("nan"))
    quantize_onnx(exported, output, noise())
    with pytest.raises(MismatchError, match="INT8 already"):
        quantize_onnx(output, tmp_path / "z.onnx", noise())
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(exported.read_bytes()[:5000])
    with pytest.raises(RecordError, match=r"cut\.onnx: is not an ONNX model of deploy-nas, or is cut short"):
        quantize_onnx(cut, tmp_path / "z.onnx", noise())
    other = graphs.with_metadata(
        exported.read_bytes(), {"architecture": {"space": SPACE.id, **SPACE.largest(24)}}
    )
    cut.write_bytes(other)
    with pytest.raises(RecordError, match="has no weight"):
        quantize_onnx(cut, tmp_path / "z.onnx", noise())


def test_speeds_are_real(exported):
    data = exported.read_bytes()
    once, again = quantize.compare_speed([data, data], threads=1, rounds=2)
    assert 0 < once < 1000 and 0 < again < 1000
