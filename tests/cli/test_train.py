"""``deploy-nas train``: options to a request, and the subnets of a supernet in a table or JSON."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy_nas.accuracy.heldout import HeldOut
from deploy_nas.adapters.images import LeftOut, ReadingReport
from deploy_nas.core.errors import ImagesError, OptionError
from deploy_nas.workflows import train as workflow
from deploy_nas.workflows.subnet_accuracy import PredictorMade
from deploy_nas.workflows.train import Trained

HELD_OUT = HeldOut(mae_points=0.756, rank_correlation=0.91, pairs=((80.0, 81.0),) * 30, spread_points=())


@pytest.fixture
def trained(supernet_record):
    """The outcome of a training; the command takes nothing from its images."""
    return Trained(
        folder=Path("supernet"),
        record=supernet_record,
        images=SimpleNamespace(),
        predictor=PredictorMade(held_out=HELD_OUT),
        readings=(ReadingReport(used=9, left_out=(LeftOut("red/3.png", "is cut short"),)),),
    )


def test_options_reach_the_request(run, stand_in, trained):
    calls = stand_in(workflow, "train", trained)
    run(
        *("train", "pictures", "-o", "out", "--space", "ofa-mbv3-cifar10", "--weights", "random"),
        *("--validation", "v", "--image-sizes", "24,20", "--epochs", 2, "--batch-size", 8, "--no-flip"),
        *("--device", "cpu", "--subnets", 40, "--workers", 2, "--seed", 3, "--force"),
    )
    (((request, *_), _),) = calls
    assert (request.images, request.output, request.validation) == (Path("pictures"), Path("out"), Path("v"))
    assert (request.space, request.weights, request.device) == ("ofa-mbv3-cifar10", "random", "cpu")
    assert (request.image_sizes, request.epochs, request.minutes) == ([24, 20], 2.0, None)
    assert (request.batch_size, request.subnets, request.workers, request.seed) == (8, 40, 2, 3)
    assert (request.flip, request.force) == (False, True)


def test_defaults(run, stand_in, trained):
    calls = stand_in(workflow, "train", trained)
    run("train", "pictures", "--minutes", 30)
    (((request, *_), _),) = calls
    assert (request.output, request.space) == (Path("supernet"), "efficientnet-lite0")
    assert (request.weights, request.image_sizes, request.epochs, request.minutes) == (None, None, None, 30.0)
    assert (request.batch_size, request.subnets, request.seed) == (32, 160, 0)
    assert (request.flip, request.force) == (True, False)


def test_the_table_and_the_next_commands(run, stand_in, trained):
    stand_in(workflow, "train", trained)
    done = run("train", "pictures", "-o", "my folder")
    assert done.stdout.splitlines() == [
        "ofa-mbv3-cifar10@3@20+24: trained on 51 images for 2.5 min (cpu)",
        "",
        "subnet           million MACs  top-1 %  95% interval",
        "---------------  ------------  -------  ------------",
        "smallest, 20 px         2.500    66.67  35.4 to 87.9",
        "largest, 24 px          2.500    88.89  56.5 to 98.0",
        "measured on 9 images that it was not trained on",
        "accuracy predictor: mean error 0.76 points, rank correlation 0.910, "
        "on 30 subnets that it was not fitted to",
        "",
        "next:",
        "  deploy-nas profile --space 'my folder' -o my.profile.json",
        "  deploy-nas search --space 'my folder' --profile my.profile.json --max-latency-ms MS",
        "  deploy-nas export best.json --space 'my folder'",
    ]
    assert "red/3.png is cut short" in done.stderr


def test_json(run, stand_in, trained, supernet_record):
    stand_in(workflow, "train", trained)
    found = json.loads(run("train", "pictures", "-o", "out", "--json").stdout)
    assert found.pop("path") == "out"
    assert found == json.loads(json.dumps(supernet_record.to_json()))


def test_progress_and_what_to_know_go_to_standard_error(run, monkeypatch, trained):
    def train(request, log, progress):
        log("51 images to train on")
        progress("training: largest", 1, 4, 90.0)
        progress("training: largest", 2, 4, 60.0)
        progress("training: sandwich", 3, 4, None)
        return trained

    monkeypatch.setattr(workflow, "train", train)
    said = run("train", "pictures").stderr.splitlines()
    assert said[:3] == [
        "51 images to train on",
        "training: largest: 1/4, 90 s left",
        "training: sandwich: 3/4",
    ]
    assert not any(line.startswith("training") for line in run("train", "p", "--json").stderr.splitlines())


def test_bad_input(run, stand_in):
    assert "gone: does not exist" in run("train", "gone", "--space", "ofa-mbv3-cifar10", code=2).stderr
    for options, said in (
        (("--image-sizes", "24,"), "is not a list such as 160,192"),
        (("--batch-size", 1), "1 is not in the range"),
        (("--subnets", -1), "-1 is not in the range"),
        (("--device", "tpu"), "'tpu' is not one of"),
    ):
        assert said in run("train", "pictures", *options, code=2).stderr
    stand_in(workflow, "train", OptionError("must be above 0, is -1", subject="minutes"))
    assert "error: --minutes: must be above 0" in run("train", "p", code=2).stderr
    stand_in(workflow, "train", ImagesError("are too few", subject="p", hint="name `validation`"))
    assert run("train", "p", code=2).stderr.splitlines()[-1] == "error: p: are too few; name --validation"
