"""``deploy-nas build``: options to a request, and what was promised and measured in a table or JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy_nas.core.errors import BudgetError
from deploy_nas.core.measured import Top1
from deploy_nas.records.build import BuildRecord, BuiltModel, Tuned
from deploy_nas.workflows import build as workflow
from deploy_nas.workflows.build import Built

FP32 = BuiltModel(
    file="best.onnx",
    precision="fp32",
    predicted_ms=7.5,
    measured_ms=7.25,
    within_budget=True,
    validation=Top1(right=85, images=100),
    test=Top1(right=40, images=50),
)
INT8 = replace(FP32, file="best.int8.onnx", precision="int8", predicted_ms=None, measured_ms=4.5, test=None)
RECORD = BuildRecord(
    space="ofa-mbv3-cifar10@3@20+24",
    budget_ms=8.0,
    profile="p",
    weights_sha256="1" * 64,
    predictor_sha256="2" * 64,
    seed=0,
    promised_percent=84.0,
    tuned=Tuned(before=Top1(right=83, images=100), after=Top1(right=85, images=100), kept=True),
    models=(FP32, INT8),
    stages_s={"train": 600.0, "search": 2.5},
)


@pytest.fixture
def builds(stand_in, record):
    """``builds(*records)``: what was built, each in the folder of its budget; returns the calls."""

    def answer(*records):
        done = [
            Built(folder=Path("my out") / f"{one.budget_ms:g}ms", architecture=record, record=one)
            for one in records
        ]
        return stand_in(workflow, "build", done)

    return answer


def test_options_reach_the_request(run, builds):
    calls = builds(RECORD)
    run(
        *("build", "pictures", "-o", "out", "--max-latency-ms", 8, "--max-latency-ms", 12.5),
        *("--profile", "p.json", "--threads", 2, "--quick", "--test", "t", "--finetune-epochs", 0),
        *("--no-int8", "--max-accuracy-drop", 2, "--space", "ofa-mbv3-cifar10", "--minutes", 30),
        *("--validation", "v", "--image-sizes", "20,24", "--no-flip", "--seed", 5, "--force"),
        "--allow-unstable",
    )
    (((request, _, _, commands), _),) = calls
    assert (request.output, request.budgets_ms) == (Path("out"), (8.0, 12.5))
    assert (request.profile, request.threads, request.quick) == (Path("p.json"), 2, True)
    assert (request.test, request.finetune_epochs, request.int8) == (Path("t"), 0.0, False)
    assert (request.max_accuracy_drop, request.seed) == (2.0, 5) and request.allow_unstable
    training = request.training
    assert (training.images, training.output) == (Path("pictures"), Path("out/supernet"))
    assert (training.space, training.minutes, training.epochs) == ("ofa-mbv3-cifar10", 30.0, None)
    assert (training.validation, training.image_sizes) == (Path("v"), [20, 24])
    assert (training.flip, training.seed, training.force) == (False, 5, True)
    assert callable(commands)


def test_defaults(run, builds):
    calls = builds(RECORD)
    run("build", "pictures")
    (((request, *_), _),) = calls
    assert (request.output, request.budgets_ms, request.profile) == (Path("build"), (), None)
    assert (request.threads, request.quick, request.test, request.int8) == (1, False, None, True)
    assert (request.finetune_epochs, request.max_accuracy_drop) == (4.0, 1.0) and not request.allow_unstable
    assert request.training.output == Path("build/supernet")


def test_the_table_says_what_was_promised_and_measured(run, builds):
    builds(RECORD)
    assert run("build", "pictures").stdout.splitlines() == [
        "budget ms  predicted ms  measured ms  budget  top-1 % (95% interval)  test top-1 %  model",
        "---------  ------------  -----------  ------  ----------------------  ------------  "
        "-------------------------",
        "    8.000         7.500        7.250  kept    85.0 (76.7 to 90.7)            80.00  "
        "my out/8ms/best.onnx",
        "    8.000             -        4.500  kept    85.0 (76.7 to 90.7)                -  "
        "my out/8ms/best.int8.onnx",
        "my out/8ms: fine-tuning kept: top-1 83.0% before, 85.0% after",
        "my out/8ms: train 10.0 min, search 2 s",
        "",
        "report, for your browser: 'my out/8ms/report.html'",
        "for the device: 'my out/8ms/bundle', with infer.py",
    ]


def test_why_something_is_missing_is_said(run, builds):
    worse = replace(RECORD.tuned, kept=False)
    builds(replace(RECORD, models=(FP32,), no_int8="INT8 is not faster here", tuned=worse))
    said = run("build", "pictures").stdout
    assert "my out/8ms: no INT8 file, because INT8 is not faster here" in said
    assert "fine-tuning not better, so not kept" in said
    builds(replace(RECORD, models=(FP32,), tuned=None))
    assert "fine-tuning" not in run("build", "pictures").stdout


def test_files_that_were_measured_on_an_unstable_machine_are_named(run, builds):
    builds(replace(RECORD, models=(FP32, replace(INT8, faults=("it was hot",)))))
    assert "my out/8ms: best.int8.onnx: UNSTABLE: it was hot" in run("build", "pictures").stdout


def test_any_missed_budget_exits_1(run, builds):
    slow = replace(FP32, measured_ms=13.0, within_budget=False)
    missed = replace(RECORD, budget_ms=12.0, models=(slow,))
    builds(missed, RECORD)
    said = run("build", "pictures", code=1).stdout
    assert "MISSED" in said and "kept" in said and "12ms" in said
    found = json.loads(run("build", "pictures", "--json", code=1).stdout)
    assert [one["models"][-1]["within_budget"] for one in found["builds"]] == [False, True]


def test_only_the_file_to_be_used_has_to_keep_the_budget(run, builds):
    builds(replace(RECORD, models=(replace(FP32, within_budget=False), INT8)))
    assert "MISSED" in run("build", "pictures").stdout


def test_json(run, builds, record):
    builds(RECORD)
    (found,) = json.loads(run("build", "pictures", "--json").stdout)["builds"]
    assert found.pop("folder") == "my out/8ms"
    assert found.pop("architecture") == json.loads(json.dumps(record.to_json()))
    assert found == json.loads(json.dumps(RECORD.to_json()))


def test_bad_input(run, stand_in):
    asked = ("build", "gone", "--space", "ofa-mbv3-cifar10")
    assert "gone: does not exist" in run(*asked, code=2).stderr
    assert "--max-latency-ms" in run(*asked, "--max-latency-ms", "fast", code=2).stderr
    said = run(*asked, "--max-latency-ms", -1, code=2).stderr
    assert "--max-latency-ms" in said and "positive number" in said
    assert "no search space 'nothing'" in run("build", "gone", "--space", "nothing", code=2).stderr
    stand_in(workflow, "build", BudgetError("8 ms is below the fastest subnet", subject="max_latency_ms"))
    assert "error: --max-latency-ms: 8 ms is below" in run("build", "p", code=2).stderr
