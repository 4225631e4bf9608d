"""The export of an architecture file: its images, its INT8 file, and what is refused in time."""

import shutil
from dataclasses import replace

import pytest
from PIL import Image

from deploy_nas.core.errors import CheckFailedError, ImagesError, MismatchError, OptionError, OutputError
from deploy_nas.core.measured import Measured
from deploy_nas.core.precision import INT8
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.spaces import embedded_space
from deploy_nas.deploy import quantize
from deploy_nas.deploy.model_file import certify, read_model
from deploy_nas.records.architecture import ArchitectureRecord, save_architecture
from deploy_nas.records.certificate import Certificate, MeasuredOn
from deploy_nas.workflows import export as workflow
from deploy_nas.workflows.export import ExportRequest, export

pytestmark = pytest.mark.slow

SPACE = embedded_space()


@pytest.fixture
def request_(tmp_path):
    record = ArchitectureRecord(space=SPACE, architecture=SPACE.smallest(24))
    save_architecture(record, tmp_path / "a.json")
    return ExportRequest(architecture=tmp_path / "a.json", output=tmp_path / "a.onnx")


@pytest.fixture
def faster(monkeypatch):
    """INT8 is said to be ``times`` as fast: what a test machine measures is no test."""

    def said(times=2.0):
        monkeypatch.setattr(quantize, "compare_speed", lambda models, **how: [1.0, 1.0 / times])

    said()
    return said


def test_int8_is_judged_on_every_fifth_picture_and_nothing_else_sees_those(made):
    _, exported, _, _ = made
    assert exported.quantized.quantization.calibration_images == 32
    assert exported.quantized.int8_top1.images == exported.quantized.float_top1.images == 8
    assert exported.report.weights.recalibrated == 32


def test_a_run_that_was_killed_between_its_files_goes_on(request_, pictures, tmp_path, monkeypatch):
    """Before the INT8 file was written, and between certificate and bundle."""
    asked = replace(request_, bundle=tmp_path / "bundle")
    export(asked)
    model = read_model(asked.output)
    on = MeasuredOn(cpu="here", threads=1, runtime_version="1.0")
    measured = Measured(latency_ms=1.0, p50_ms=1.1, p90_ms=1.2, p99_ms=1.3, runs=9)
    held = Certificate(graph_sha256=model.graph_sha256, measured=measured, measured_on=on)
    certified = certify(asked.output, model, held)
    assert export(asked).report.sha256 == certified.sha256 and read_model(asked.output) == certified
    monkeypatch.setattr(workflow, "export_onnx", None)  # what follows is refused before the slow work
    int8 = replace(asked, int8=True, calibration_images=pictures)
    assert workflow._was_killed(int8, workflow.architecture_given(int8.architecture))
    asked.bundle.mkdir()
    for whole in (asked, replace(asked, bundle=None)):
        with pytest.raises(OutputError, match=r"a\.onnx: exists already"):
            export(whole)
    other = ArchitectureRecord(space=SPACE, architecture=SPACE.largest(24))
    with pytest.raises(OutputError, match=r"a\.onnx: exists already"):
        export(replace(int8, architecture=other))


def test_calibration_takes_its_limit_altogether_without_labels(made):
    request = replace(made[0], calibration_limit=20)
    calibration, held_out = workflow._calibration(request, request.calibration_images, 24, [])
    assert len(calibration) == 20 and held_out is None


def test_images_are_held_out_whatever_the_order_of_the_labels(made):
    request, labels = made[0], SPACE.labels[::-1]
    calibration, held_out = workflow._calibration(request, request.calibration_images, 24, labels)
    assert len(calibration) == 32 and len(held_out) == 8


def test_images_given_are_those_that_int8_is_judged_on(request_, pictures, faster):
    asked = replace(request_, int8=True, calibration_images=pictures, images=pictures, max_accuracy_drop=100)
    exported = export(asked)
    assert exported.quantized.quantization.calibration_images == 40
    assert exported.quantized.int8_top1.images == 40


def test_the_fp32_file_is_told_of_before_int8_begins(request_, pictures, faster):
    told = []

    def tell(report):
        told.append((report.path, request_.output.is_file(), request_.int8_output.exists()))

    asked = replace(request_, int8=True, calibration_images=pictures, max_accuracy_drop=100)
    steps: list[str] = []
    exported = export(asked, steps.append, exported=tell)
    assert told == [(request_.output, True, False)] and "calibrating" in steps
    assert exported.quantized.path == request_.int8_output == request_.output.with_name("a.int8.onnx")


def test_statistics_may_be_kept_while_ranges_are_taken(request_, pictures, faster):
    asked = replace(request_, int8=True, calibration_images=pictures, max_accuracy_drop=100)
    exported = export(replace(asked, keep_statistics=True))
    assert exported.report.weights.recalibrated == 0
    assert exported.quantized.quantization.calibration_images == 32


def test_an_int8_file_of_another_network_does_not_stay(request_, pictures, faster):
    request_.int8_output.write_bytes(b"of another network")
    asked = replace(request_, int8=True, calibration_images=pictures, max_accuracy_drop=100)
    with pytest.raises(OutputError, match="exists already"):
        export(asked)
    assert not request_.output.exists()
    faster(0.5)
    with pytest.raises(CheckFailedError, match="INT8 is not faster here"):
        export(replace(asked, force=True))
    assert request_.output.is_file() and not request_.int8_output.exists()


def test_a_promise_goes_to_the_file_it_is_of(request_, pictures, faster):
    said = Predicted(
        latency_ms=0.2, bound_ms=0.3, confidence=0.95, profile="p8", precision=INT8, accuracy=80.0
    )
    record = ArchitectureRecord(space=SPACE, architecture=SPACE.smallest(24), predicted=said)
    save_architecture(record, request_.architecture, force=True)
    export(replace(request_, int8=True, calibration_images=pictures, max_accuracy_drop=100))
    held = read_model(request_.output).metadata
    assert held.predicted == Predicted(accuracy=80.0) and held.profile is None
    held = read_model(request_.int8_output).metadata
    assert held.predicted == said and held.profile == "p8"


def test_skipped_pictures_are_named(request_, pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "some")
    (tmp_path / "some/cat/3.png").write_bytes(b"cut")
    # one of a hundred may be unreadable, not one of forty
    for number in range(4, 64):
        shutil.copy(pictures / "cat/0.png", tmp_path / f"some/cat/{number}.png")
    assert export(replace(request_, calibration_images=tmp_path / "some")).report.to_json()["skipped"] == [
        "cat/3.png"
    ]


def test_calibration_images_that_cannot_be(request_, tmp_path, pictures):
    def export_with(folder, **changes):
        return export(replace(request_, int8=True, calibration_images=folder, **changes))

    with pytest.raises(OptionError, match="int8: needs images to take its ranges from"):
        export_with(None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImagesError, match="holds no images"):
        export_with(tmp_path / "empty")
    shutil.copytree(pictures, tmp_path / "classes")
    (tmp_path / "classes/cat").rename(tmp_path / "classes/zebra")
    with pytest.raises(ImagesError, match="'zebra' is not one of the model's classes"):
        export_with(tmp_path / "classes")
    (tmp_path / "tiny").mkdir()
    for number in range(30):
        Image.new("RGB", (8, 8)).save(tmp_path / f"tiny/{number}.png")
    with pytest.raises(ImagesError, match="are 8 pixels, the model takes 24"):
        export_with(tmp_path / "tiny")
    with pytest.raises(ImagesError, match="nowhere"):
        export_with(pictures, images=tmp_path / "nowhere")
    assert not request_.output.exists()


def test_labels_come_a_line_each_and_may_have_a_byte_order_mark(request_, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("\r\n".join(SPACE.labels[::-1]) + "\n\n", encoding="utf-8-sig")
    export(replace(request_, labels=labels, weights="random"))
    assert read_model(request_.output).metadata.labels == SPACE.labels[::-1]
    labels.write_text("one\ntwo\n")
    with pytest.raises(OptionError, match="2 names for 10 classes"):
        export(replace(request_, labels=labels, force=True))
    labels.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match=r"labels\.txt: is not text"):
        export(replace(request_, labels=labels, force=True))


def test_any_batch_size(request_):
    export(replace(request_, weights="random", dynamic_batch=True))
    assert read_model(request_.output).batch is None


def test_the_space_of_other_classes_may_be_named(request_, tmp_path):
    """What was predicted is of the other classifier, and is left out."""
    record = ArchitectureRecord(
        space=SPACE, architecture=SPACE.smallest(24), predicted=Predicted(latency_ms=1.0)
    )
    save_architecture(record, request_.architecture, force=True)
    own = f"{SPACE.id}@3"
    done = export(replace(request_, space=own, weights="random"))
    said = read_model(done.report.path).metadata
    assert said.space.id == own and not said.predicted
    with pytest.raises(MismatchError, match=r"is of space ofa-mbv3-w1\.0@3"):
        export(replace(request_, space="ofa-mbv3-w1.0@3", weights="random", force=True))
