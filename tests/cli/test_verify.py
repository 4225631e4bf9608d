"""``deploy-nas verify``: options to a request, and what was measured beside what was promised."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy_nas.adapters.images import LeftOut, ReadingReport
from deploy_nas.cli.verify import describe
from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import CheckFailedError, OptionError
from deploy_nas.core.fingerprint import Difference, Fingerprint
from deploy_nas.core.measured import Measured, Paced, Top1
from deploy_nas.deploy.verify import Verification
from deploy_nas.records.certificate import Certificate, MeasuredOn
from deploy_nas.workflows import verify as workflow
from deploy_nas.workflows.verify import MeasuredTop1, Verified

MEASURED = Measured(latency_ms=0.5, p50_ms=0.52, p90_ms=0.6, p99_ms=0.9, runs=100)
FOUND = Verification(measured=MEASURED, predicted_ms=0.45, bound_ms=0.48, budget_ms=0.6, sha256="f" * 64)
REPORT = ReadingReport(source="i", used=100, left_out=(LeftOut("x.png", "is empty"),), turned=3, classes=3)
TOP1 = MeasuredTop1(
    top1=Top1(right=90, images=100, reading=REPORT.reading(model_classes=10)),
    predicted_percent=91.0,
    report=REPORT,
)
DEVICE = Fingerprint(
    cpu="phone", machine="arm64", os="o", runtime_version="1", governor="g", cores=4, threads=1, pinned=True
)


@pytest.fixture
def verifies(stand_in):
    """``verifies(*results)``: what the workflow answers; returns the calls made of it."""

    def answer(*results):
        return stand_in(workflow, "verify", list(results) or [Verified(name="m.onnx", verification=FOUND)])

    return answer


def test_options_reach_the_request(run, verifies):
    calls = verifies()
    run(
        *("verify", "m.onnx", "--profile", "p.json", "--max-latency-ms", 0.7, "--threads", 2),
        *("--target", "ssh://me@d", "--ssh-option", "-v", "--images", "i"),
    )
    ((request, _), _), *_ = calls
    assert (request.path, request.profile, request.images) == (Path("m.onnx"), Path("p.json"), Path("i"))
    assert (request.max_latency_ms, request.threads) == (0.7, 2)
    assert (request.target, request.ssh_options) == ("ssh://me@d", ("-v",))


def test_measured_predicted_and_budget(run, verifies):
    verifies()
    assert run("verify", "m.onnx").stdout.splitlines() == [
        "measured 0.5 ms (p50 0.52, p90 0.6, p99 0.9; 100 runs back to back)",
        "predicted 0.45 ms (-10.0%, at most 0.48 by its bound)",
        "budget 0.6 ms: kept",
    ]


def test_any_missed_budget_exits_1(run, verifies):
    missed = replace(FOUND, budget_ms=0.4)
    verifies(Verified(name="a", verification=FOUND), Verified(name="b", verification=missed))
    assert "budget 0.4 ms: MISSED" in run("verify", "m.onnx", code=1).stdout
    unknown = replace(FOUND, budget_ms=None)
    verifies(Verified(name="a", verification=unknown))
    run("verify", "m.onnx")


def test_top1_is_judged_by_its_interval(run, verifies):
    verifies(Verified(name="m", verification=FOUND, top1=TOP1))
    done = run("verify", "m.onnx", "--images", "i")
    assert "top-1 90.00% on 100 images of 3 of 10 classes (95% interval" in done.stdout
    assert "predicted top-1 91.00%: within the interval" in done.stdout
    assert "note: i: left out: 1 of 101 pictures (x.png is empty)" in done.stderr
    assert "note: i: 3 pictures turned upright" in done.stderr
    verifies(Verified(name="m", verification=FOUND, top1=replace(TOP1, predicted_percent=99.9)))
    assert "outside the interval" in run("verify", "m.onnx", "--images", "i").stdout


def test_labels_by_position_are_said(run, verifies):
    reading = replace(REPORT, classes=10, numeric_order=True).reading(model_classes=10, by_position=True)
    found = replace(TOP1, top1=replace(TOP1.top1, reading=reading))
    verifies(Verified(name="m", verification=FOUND, top1=found))
    said = run("verify", "m.onnx", "--images", "i").stdout
    assert "top-1 90.00% on 100 images (95% interval" in said
    assert "the model does not name its classes: labels by position, in numeric order" in said


def test_a_device_elsewhere_is_named(run, verifies):
    there = Verified(
        name="m", verification=FOUND, logits_apart=1e-6, logits_judged=True, device=DEVICE, top1=TOP1
    )
    verifies(there)
    said = run("verify", "m.onnx", "--target", "here").stdout
    assert f"on {DEVICE}: logits match, largest difference 1e-06" in said and "top-1 90.00% here on" in said
    verifies(replace(there, logits_judged=False))
    assert "INT8 logits, not judged" in run("verify", "m.onnx", "--target", "here").stdout


def test_models_of_a_bundle_are_named(run, verifies):
    verifies(Verified(name="b.zip: model.onnx", verification=FOUND))
    assert "b.zip: model.onnx: its hash matches the manifest" in run("verify", "b.zip").stdout
    found = json.loads(run("verify", "b.zip", "--json").stdout)
    assert set(found["models"]) == {"b.zip: model.onnx"}


def test_json(run, verifies):
    verifies(Verified(name="m.onnx", verification=FOUND, top1=TOP1))
    found = json.loads(run("verify", "m.onnx", "--json").stdout)
    assert found["measured"]["latency_ms"] == 0.5 and found["within_budget"] is True
    assert found["stable"] is True
    assert found["error_percent"] == pytest.approx(-10) and found["certificate"] is None
    assert found["top1"]["percent"] == 90.0 and found["top1"]["skipped"] == ["x.png"]
    reading = {"used": 100, "left_out": 1, "turned": 3, "classes": 3, "model_classes": 10}
    assert found["top1"]["reading"] == reading and found["top1"]["right"] == 90
    assert "device" not in found


def test_notes():
    on = MeasuredOn(cpu="x", threads=1, runtime_version="1")
    then = Certificate(graph_sha256="0", measured=replace(MEASURED, latency_ms=0.4), measured_on=on)
    difference = Difference(name="threads", profiled=1, found=2)
    said = describe(
        replace(FOUND, speed=0.8, certificate=then, warning="it overflows", differences=(difference,))
    ).splitlines()
    assert "note: this device now runs at 0.80 of the speed it was profiled at" in said
    assert f"certificate: 0.4 ms on {on}; now +25.0%" in said
    assert "note: it overflows" in said
    assert said[-1] == f"note: the profile is of another device or setup: {difference}"
    assert len(describe(replace(FOUND, speed=0.98)).splitlines()) == 3


def test_a_disturbed_measurement_and_a_pace_are_said(run, verifies):
    conditions = Conditions(busy=0.53, quota_cores=0.5)
    paced = Paced(every_ms=50.0, p50_ms=0.75, p90_ms=0.81, runs=100)
    measured = replace(MEASURED, conditions=conditions, paced=paced)
    calls = verifies(Verified(name="m.onnx", verification=replace(FOUND, measured=measured)))
    said = run("verify", "m.onnx", "--every-ms", 50).stdout.splitlines()
    assert calls[0][0][0].every_ms == 50.0
    fault = "a CPU quota of 0.5 cores stops 1 thread again and again: runs had it 53% of the time"
    assert said[1:3] == [
        f"UNSTABLE: {fault}",
        "a run every 50 ms: median 0.75 ms, p90 0.81 ms (100 runs); "
        "prediction and budget are for back to back",
    ]
    assert said[-1] == "budget 0.6 ms: kept, as measured on an unstable machine"
    found = json.loads(run("verify", "m.onnx", "--json").stdout)
    assert found["stable"] is False and found["measured"]["conditions"]["faults"] == [fault]
    assert found["measured"]["paced"]["p50_ms"] == 0.75


def test_a_note_names_options(run, verifies):
    verifies(Verified(name="m", verification=replace(FOUND, warning="export with `int8_for` x86")))
    assert "note: export with --int8-for x86" in run("verify", "m.onnx").stdout


def test_errors(run, stand_in):
    stand_in(workflow, "verify", OptionError("are for a single model", subject="images"))
    assert run("verify", "b.zip", code=2).stderr.splitlines()[-1] == "error: --images: are for a single model"
    stand_in(workflow, "verify", CheckFailedError("differ", subject="m.onnx"))
    assert run("verify", "m.onnx", code=1).stderr.splitlines()[-1] == "error: m.onnx: differ"


def test_help_names_the_targets(run):
    said = " ".join(run("verify", "--help").output.split())
    assert "here, ssh://USER@HOST, browser (Chromium of this machine)" in said
    assert "the path of a kit to carry by hand (*.pyz)" in said
