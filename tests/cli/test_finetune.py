"""``deploy-nas finetune``: options to a request, and top-1 before and after."""

import json
from pathlib import Path

import pytest

from deploy_nas.core.errors import MismatchError
from deploy_nas.core.measured import Top1
from deploy_nas.workflows import finetune as workflow
from deploy_nas.workflows.finetune import Finetuned

BETTER = Finetuned(
    before=Top1(right=80, images=100),
    after=Top1(right=83, images=100),
    training_s=90.0,
    weights=Path("my best.tuned.safetensors"),
)
NOT_BETTER = Finetuned(before=BETTER.before, after=BETTER.before, training_s=90.0, weights=None)
ASKED = ("finetune", "my best.json", "pictures", "--space", "s")


@pytest.fixture
def answers(stand_in):
    """``answers(done)``: the outcome of the workflow; returns the calls made of it."""
    return lambda done: stand_in(workflow, "finetune", done)


def test_options_reach_the_request(run, answers):
    calls = answers(BETTER)
    run(
        *ASKED,
        *("-o", "w.safetensors", "--validation", "v", "--epochs", 1.5, "--batch-size", 8, "--no-flip"),
        *("--device", "cpu", "--seed", 2, "--force"),
    )
    (((request, *_), _),) = calls
    assert (request.architecture, request.space, request.images) == (
        Path("my best.json"),
        Path("s"),
        Path("pictures"),
    )
    assert (request.output, request.validation) == (Path("w.safetensors"), Path("v"))
    assert (request.epochs, request.batch_size, request.device, request.seed) == (1.5, 8, "cpu", 2)
    assert (request.flip, request.force) == (False, True)


def test_defaults(run, answers):
    calls = answers(BETTER)
    run(*ASKED)
    (((request, *_), _),) = calls
    assert request.output == Path("my best.tuned.safetensors")
    assert (request.epochs, request.batch_size, request.device) == (4.0, 32, None)
    assert (request.flip, request.force, request.validation) == (True, False, None)


def test_better_weights_are_named_with_the_command_that_exports_them(run, answers):
    answers(BETTER)
    assert run(*ASKED).stdout.splitlines() == [
        "top-1 83.00% against 80.00% before, on 100 validation images, after 1.5 min",
        "wrote my best.tuned.safetensors; next: deploy-nas export 'my best.json' --space s "
        "--weights 'my best.tuned.safetensors'",
    ]


def test_it_exits_1_if_it_did_not_become_better(run, answers):
    answers(NOT_BETTER)
    assert "nothing was written" in run(*ASKED, code=1).stdout
    found = json.loads(run(*ASKED, "--json", code=1).stdout)
    assert found["path"] is None and found["before"] == found["after"] == BETTER.before.to_json()


def test_json(run, answers):
    answers(BETTER)
    assert json.loads(run(*ASKED, "--json").stdout) == {
        "before": BETTER.before.to_json(),
        "after": BETTER.after.to_json(),
        "training_s": 90.0,
        "path": "my best.tuned.safetensors",
    }


def test_bad_input(run, answers, architecture):
    assert "Missing option '--space'" in run("finetune", "a.json", "pictures", code=2).stderr
    assert "gone.json: " in run("finetune", "gone.json", "p", "--space", "s", code=2).stderr
    assert "s/t: there is no such folder" in run("finetune", "a.json", "p", "--space", "s/t", code=2).stderr
    answers(MismatchError("are not the images", subject="pictures", hint="with the same `validation`"))
    said = run(*ASKED, code=2).stderr.splitlines()[-1]
    assert said == "error: pictures: are not the images; with the same --validation"
