"""``deploy-nas export``: options to a request, and the files that were written in words or JSON."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy_nas.adapters.images import LeftOut, ReadingReport
from deploy_nas.core.errors import CheckFailedError, OptionError
from deploy_nas.core.measured import Top1
from deploy_nas.deploy.export import ExportReport
from deploy_nas.records.model import Provenance, Quantization
from deploy_nas.workflows import bundle as bundling
from deploy_nas.workflows import export as workflow
from deploy_nas.workflows.export import Exported

RANDOM = Provenance(source="random", sha256=None, trained=False, seed=0)
REPORT = ExportReport(
    path=Path("a.onnx"),
    sha256="0" * 64,
    size_bytes=2_500_000,
    space="ofa-mbv3-cifar10",
    architecture={"image_size": 24},
    weights=replace(RANDOM, source="embedded", trained=True, seed=None),
    opset=17,
    batch=1,
    parameters=600_000,
    million_macs=12.34,
    max_difference=1.5e-6,
    allowed_difference=1e-4,
)


READ = ReadingReport(source="c", used=40, left_out=(LeftOut("x.png", "is empty"),))


class Int8(SimpleNamespace):
    """A quantisation's report."""

    def to_json(self):
        return {"path": "a.int8.onnx"}


@pytest.fixture
def int8():
    how = Quantization(
        activations="uint8", weights="int8", weight_bits=7, chosen_for="x86", calibration_images=30
    )
    return Int8(
        path=Path("a.int8.onnx"),
        model=SimpleNamespace(data=b"0" * 700_000),
        quantization=how,
        float_ms=2.0,
        int8_ms=1.0,
        speedup=2.0,
        float_top1=Top1(right=90, images=100),
        int8_top1=Top1(right=89, images=100),
        agreement_percent=97.5,
        compared=40,
    )


@pytest.fixture
def exports(monkeypatch):
    """``exports(report, quantized)``: what the workflow answers; returns the requests made of it."""

    def answer(report=REPORT, quantized=None):
        requests = []

        def export(request, log=None, *, exported=None):
            requests.append(request)
            if exported is not None:
                exported(report)
            return Exported(report=report, quantized=quantized)

        monkeypatch.setattr(workflow, "export", export)
        return requests

    return answer


@pytest.fixture
def bundles(monkeypatch):
    """``bundles(keeps)``: a bundle that keeps its budgets, or not; returns the paths asked for."""

    def answer(keeps):
        paths = []
        model = SimpleNamespace(certificate=None, provider="CPUExecutionProvider")
        manifest = SimpleNamespace(
            models={"a.onnx": model}, keeps_budgets=keeps, to_json=lambda: {"models": []}
        )

        def bundle(request, exported, path, log=None):
            paths.append(path)
            return SimpleNamespace(manifest=manifest, exported=exported, readings=(READ,))

        monkeypatch.setattr(bundling, "bundle", bundle)
        return paths

    return answer


def test_defaults(run, exports):
    requests = exports()
    said = run("export", "d/a.json").stdout
    (request,) = requests
    assert (request.architecture, request.output) == (Path("d/a.json"), Path("d/a.onnx"))
    assert request.weights is None and request.calibration_images is None and request.labels is None
    assert (request.calibration_limit, request.int8_for, request.max_accuracy_drop) == (2000, "auto", 1.0)
    assert not any((request.int8, request.force, request.dynamic_batch, request.keep_statistics))
    assert said.splitlines() == [
        "wrote a.onnx: 12.3 million MACs, 0.60 million parameters, 2.50 MB, opset 17",
        "its outputs match ofa's own subnet: largest difference 1.5e-06 (0.0001 allowed)",
    ]


def test_every_option_reaches_the_request(run, exports, int8):
    requests = exports(quantized=int8)
    run(
        *("export", "a.json", "-o", "x.onnx", "--weights", "w.pth", "--calibration-images", "c"),
        *("--calibration-limit", 9, "--keep-statistics", "--labels", "l.txt", "--dynamic-batch", "--int8"),
        "--allow-unstable",
        *("--int8-for", "arm", "--images", "i", "--max-accuracy-drop", 2, "--seed", 4, "--force"),
    )
    (request,) = requests
    assert (request.output, request.weights, request.labels) == (Path("x.onnx"), "w.pth", Path("l.txt"))
    assert (request.calibration_images, request.calibration_limit) == (Path("c"), 9)
    assert request.keep_statistics and request.dynamic_batch and request.int8 and request.force
    assert (request.int8_for, request.images, request.max_accuracy_drop) == ("arm", Path("i"), 2.0)
    assert request.seed == 4 and request.allow_unstable


def test_untrained_and_recalibrated_weights_are_named(run, exports):
    exports(replace(REPORT, weights=RANDOM, readings=(READ,)))
    done = run("export", "a.json")
    assert "UNTRAINED" in done.stderr
    assert "note: c: left out: 1 of 41 pictures (x.png is empty)" in done.stderr
    exports(replace(REPORT, weights=replace(REPORT.weights, recalibrated=300)))
    assert "batch-norm statistics re-estimated on 300 images" in run("export", "a.json").stdout


def test_int8_is_compared(run, exports, int8):
    exports(quantized=int8)
    assert run("export", "a.json", "--int8").stdout.splitlines()[2:] == [
        "wrote a.int8.onnx: INT8 (uint8; for x86), 0.70 MB, ranges from 30 images",
        "1 ms against 2 ms in fp32: 2.00 times as fast",
        "top-1 89.00% against 90.00% in fp32, on 100 held-out images",
        "both agree on 97.5% of 40 images",
    ]


def test_int8_for_another_processor_without_labels(run, exports, int8):
    int8.speedup = int8.float_top1 = None
    exports(quantized=int8)
    done = run("export", "a.json", "--int8")
    assert "its speed was not measured: it is for another processor" in done.stdout
    assert "top-1 was not measured" in done.stderr


def test_a_bundle_that_misses_its_budget_exits_1(run, exports, bundles):
    exports()
    paths = bundles(True)
    done = run("export", "a.json", "--bundle", "b")
    assert "wrote b; to use it: python3 infer.py IMAGE" in done.stdout
    assert done.stderr.count("note: c: left out: 1 of 41 pictures (x.png is empty)") == 1
    assert paths == [Path("b")]
    bundles(False)
    run("export", "a.json", "--bundle", "b", code=1)


def test_json(run, exports, bundles, int8):
    exports(quantized=int8)
    bundles(True)
    found = json.loads(run("export", "a.json", "--int8", "--bundle", "b", "--json").stdout)
    assert found["path"] == "a.onnx" and found["warning"] is None
    assert found["int8"] == {"path": "a.int8.onnx"} and found["bundle"] == {"models": []}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--images", "i"], "--images needs --int8 or --bundle"),
        (["--int8-for", "arm"], "--int8-for needs --int8"),
        (["--keep-statistics"], "--keep-statistics needs --int8"),
        (["--int8-for", "gpu"], "gpu"),
        (["--bundle", "full"], "full: holds files already"),
    ],
)
def test_bad_options_export_nothing(run, exports, tmp_path, options, says):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").touch()
    requests = exports()
    assert says in run("export", "a.json", *options, code=2).stderr
    assert requests == []


def test_a_folder_names_no_output(run, exports):
    exports()
    assert "is not a file" in run("export", ".", code=2).stderr


def test_errors(run, stand_in):
    stand_in(workflow, "export", OptionError("needs images", subject="int8", hint="add `calibration_images`"))
    assert run("export", "a.json", code=2).stderr == "error: --int8: needs images; add --calibration-images\n"
    stand_in(workflow, "export", CheckFailedError("is slower", subject="int8"))
    assert run("export", "a.json", code=1).stderr == "error: int8: is slower\n"
