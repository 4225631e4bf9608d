"""``deploy-nas search``: options to a question, and an answer in words or JSON."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy_nas.cli.search import describe
from deploy_nas.core.errors import BudgetMissedError, InfeasibleBudgetError, UnstableDeviceError
from deploy_nas.core.predicted import Elsewhere
from deploy_nas.records.profile import save_profile
from deploy_nas.records.result import Timed
from deploy_nas.workflows import search as workflow


@pytest.fixture
def found(record):
    """What a search answers."""
    result = SimpleNamespace(interrupted=False, evaluations=50_000, timed=[])
    return SimpleNamespace(record=record, result=result)


@pytest.fixture
def calls(stand_in, found):
    return stand_in(workflow, "search_file", found)


def test_defaults(run, profile, calls, made_profile):
    done = run("search", "--profile", profile, "--max-latency-ms", 0.35)
    ((held, output, request), options), *_ = calls
    assert held.id == made_profile().id and output == Path("best.json")
    assert request.budgets == {"latency_ms": 0.35} and request.confidence == 0.95
    assert request.hyper == {"population_size": 1000, "max_time_budget": 50}
    assert (request.seed, request.bytes_per_element, request.image_sizes) == (0, 1, None)
    assert (request.predictor, request.anchors, request.allow_unstable) == (None, (), False)
    assert (options["measure_top"], options["weights"], options["force"]) == (0, "random", False)
    assert done.stdout.splitlines()[0] == "ofa-mbv3-cifar10 at 24 px, of 50000 evaluated"
    assert done.stdout.splitlines()[-1] == "wrote best.json and best.search.json"


def test_every_option_reaches_the_question(run, profile, calls, made_profile, tmp_path):
    save_profile(made_profile(speed=0.5), tmp_path / "slow.profile.json")
    run(
        *("search", "--profile", profile, "--max-latency-ms", 1, "--profile", "slow.profile.json"),
        *("--max-latency-ms", 2, "--max-macs-millions", 30, "--bytes-per-element", 4, "--confidence", "none"),
        *("--image-sizes", "24,28", "--population", 60, "--generations", 4, "--measure-top", 8, "--seed", 5),
        *("--weights", "w.pth", "--predictor", "p.onnx", "--anchor", "a.json=90", "--anchor", "anchors.json"),
        *("--allow-unstable", "--force", "-o", "x.json", "--margin", "slowest-seen"),
    )
    ((_, output, request), options), *_ = calls
    assert request.budgets == {"latency_ms": 1.0, "millionMACs": 30.0} and output == Path("x.json")
    assert [(o.name, o.max_latency_ms) for o in request.others] == [("slow", 2.0)]
    assert request.confidence is None and request.bytes_per_element == 4 and request.seed == 5
    assert request.image_sizes == [24, 28] and request.hyper == {"population_size": 60, "max_time_budget": 4}
    assert (request.predictor, request.anchors) == ("p.onnx", ("a.json=90", "anchors.json"))
    assert request.allow_unstable and options["force"] and request.margin == "slowest-seen"
    assert (options["measure_top"], options["weights"]) == (8, "w.pth")


def test_json_holds_the_record_and_where_it_lies(run, profile, calls, record):
    said = json.loads(run("search", "--profile", profile, "--max-latency-ms", 1, "--json").stdout)
    assert said == {
        "path": "best.json",
        "result": "best.search.json",
        "interrupted": False,
        **json.loads(json.dumps(record.to_json())),
    }


def test_an_interrupted_search_says_so(run, profile, stand_in, found):
    found.result.interrupted = True
    stand_in(workflow, "search_file", found)
    said = run("search", "--profile", profile, "--max-latency-ms", 1).stdout
    assert said.startswith("stopped; this is the best found so far\n")


def test_timed_candidates_are_listed(run, profile, stand_in, found, record):
    found.result.timed = [
        (record, Timed(latency_ms=0.4, within_budget=False)),
        (record, Timed(latency_ms=0.3, within_budget=True)),
    ]
    stand_in(workflow, "search_file", found)
    rows = run("search", "--profile", profile, "--max-latency-ms", 1).stdout.splitlines()[-3:-1]
    assert [row.split()[-1] for row in rows] == ["MISSED", "kept"]
    found.result.timed[0] = (record, Timed(latency_ms=0.4, within_budget=False, faults=("it was hot",)))
    said = run("search", "--profile", profile, "--max-latency-ms", 1).stderr
    assert "UNSTABLE: when candidates were timed: it was hot" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "Missing option '--profile'"),
        (["--profile", "p.profile.json", "--confidence", "often"], "'often' is neither a number nor none"),
        (["--profile", "p.profile.json", "--image-sizes", "a"], "--image-sizes"),
        (["--profile", "p.profile.json", "--measure-top", "0"], "--measure-top"),
        (
            ["--profile", "p.profile.json", *["--max-latency-ms", "1"] * 2],
            "--max-latency-ms: 1 profile(s) and 2",
        ),
        (["--profile", "gone.json"], "gone.json: cannot be read"),
    ],
)
def test_bad_options_search_nothing(run, profile, calls, options, says):
    assert says in run("search", *options, code=2).stderr
    assert calls == []


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (InfeasibleBudgetError("too small", subject="latency_ms"), 2, "error: --max-latency-ms: too small"),
        (BudgetMissedError("missed", subject="measure_top"), 1, "error: --measure-top: missed"),
        (
            UnstableDeviceError("is unstable", subject="profile p", hint="use `allow_unstable`"),
            2,
            "error: profile p: is unstable; use --allow-unstable",
        ),
    ],
)
def test_errors_in_options(run, profile, stand_in, error, code, says):
    stand_in(workflow, "search_file", error)
    assert run("search", "--profile", profile, code=code).stderr.splitlines()[-1] == says


def test_a_description_has_every_prediction(record):
    assert describe(record).splitlines() == [
        "predicted accuracy 91.5%",
        "  (reads high)",
        "predicted latency 0.25 ms, at most 0.3 ms by its bound",
        "12.5 million MACs, peak memory 80 KB",
    ]


def test_a_description_names_devices_spread_and_measurement(record):
    other = Elsewhere(device="phone", latency_ms=2.0)
    predicted = replace(
        record.predicted,
        accuracy_spread=0.3,
        measured_ms=0.26,
        others=(other,),
        accuracy_note=None,
        figures={},
    )
    assert describe(replace(record, predicted=predicted)).splitlines()[:4] == [
        "predicted accuracy 91.5% (ensemble spread 0.3)",
        "predicted latency 0.25 ms, at most 0.3 ms by its bound",
        "predicted latency 2 ms on phone, no bound (unvalidated profile, or confidence none)",
        "measured latency 0.26 ms",
    ]
