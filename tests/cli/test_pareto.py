"""``deploy-nas pareto``: the front of a search, or one that a file holds, and a pick from it."""

import json
from pathlib import Path

import pytest

from deploy_nas.core.spaces import embedded_space
from deploy_nas.records.result import FRONT, Asked, Candidate, SearchRecord, save_result
from deploy_nas.workflows import pareto as workflow


@pytest.fixture
def front(record):
    """A front of one point."""
    return SearchRecord(
        kind=FRONT,
        space=embedded_space(),
        asked=Asked(evaluations=10),
        history=(),
        evaluations=10,
        interrupted=False,
        candidates=[Candidate(record=record)],
    )


@pytest.fixture
def calls(stand_in, front):
    return stand_in(workflow, "front_file", front)


def test_options_reach_the_question(run, profile, calls):
    said = run(
        *("pareto", "--profile", profile, "--max-latency-ms", 1, "--evaluations", 500, "--seed", 3),
        *("--image-sizes", 24, "--confidence", 0.9, "-o", "f.json", "--force"),
    ).stdout
    ((_, output, request), options), *_ = calls
    assert output == Path("f.json") and options["evaluations"] == 500 and options["force"]
    assert request.budgets == {"latency_ms": 1.0} and request.image_sizes == [24]
    assert (request.confidence, request.seed) == (0.9, 3)
    assert said.splitlines()[-1] == "1 points of 10 evaluated; wrote f.json" and "(reads high)" in said


def test_a_pick_is_written_and_described(run, profile, calls, tmp_path):
    said = run("pareto", "--profile", profile, "--pick", "knee", "--pick-output", "k.json").stdout
    assert "picked knee: ofa-mbv3-cifar10 at 24 px" in said and said.splitlines()[-1] == "wrote k.json"
    assert json.loads((tmp_path / "k.json").read_text())["predicted"]["picked"] == "knee"


def test_json(run, profile, calls, record):
    found = json.loads(run("pareto", "--profile", profile, "--json").stdout)
    assert found["path"] == "front.json" and found["picked"] is None and not found["interrupted"]
    assert found["front"] == [json.loads(json.dumps(record.to_json()))]


def test_a_pick_from_a_file_searches_nothing(run, front, calls, tmp_path):
    save_result(front, tmp_path / "f.json")
    said = run("pareto", "--from", "f.json", "--pick", "0.35").stdout
    assert said.startswith("picked 0.35:") and calls == []
    found = json.loads(run("pareto", "--from", "f.json", "--pick", "1ms", "--force", "--json").stdout)
    assert found["path"] == "f.json" and found["picked"]["predicted"]["budget_ms"] == 1.0


def test_an_edited_front_is_refused_and_says_what_to_do(run, front, tmp_path):
    save_result(front, tmp_path / "f.json")
    text = (tmp_path / "f.json").read_text()
    assert '"accuracy": 91' in text
    (tmp_path / "f.json").write_text(text.replace('"accuracy": 91', '"accuracy": 95'))
    said = run("pareto", "--from", "f.json", "--pick", "knee", code=2).stderr
    assert said.startswith("error: f.json: was edited or damaged: its digest does not match its content; ")
    assert said.endswith("restore it, or make it again\n")


def test_numbers_of_a_front_without_a_digest_are_not_handed_on(run, front, tmp_path):
    """Those of an older deploy-nas, and those that were edited: nobody can tell them apart."""
    save_result(front, tmp_path / "f.json")
    value = {k: v for k, v in json.loads((tmp_path / "f.json").read_text()).items() if k != "digest"}
    (tmp_path / "f.json").write_text(json.dumps(value | {"version": 1}))
    done = run("pareto", "--from", "f.json", "--pick", "knee", "--pick-output", "k.json")
    assert done.stderr.startswith("note: f.json: was not written by this deploy-nas, or was edited since")
    assert done.stderr.count("note:") == 1
    assert "without predictions: those in the file cannot be checked" in done.stdout
    assert "predicted" not in json.loads((tmp_path / "k.json").read_text())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--from", "f.json"], "--from needs --pick"),
        (["--from", "f.json", "--pick", "knee", "--seed", "1"], "--seed has no effect with --from"),
        (["--from", "f.json", "--pick", "knee", "-o", "x.json"], "--output has no effect with --from"),
        (
            ["--from", "f.json", "--pick", "knee", "--profile", "p.json"],
            "--profile has no effect with --from",
        ),
        (["--pick", "best"], "--pick: must be knee or a latency in ms, is 'best'"),
        (["--pick", "-1"], "--pick: must be a positive latency"),
        (["--pick", "knee", "--pick-output", "front.json"], "own file; name another --pick-output"),
        (["--from", "f.json", "--pick", "knee", "--pick-output", "f.json", "--force"], "--pick-output"),
        (["--from", "f.json", "--pick", "0.1"], "--pick: the front begins at 0.3 ms, above 0.1"),
        ([], "Missing option '--profile'"),
    ],
)
def test_bad_options(run, front, calls, tmp_path, options, says):
    save_result(front, tmp_path / "f.json")
    assert says in run("pareto", *options, code=2).stderr
    assert calls == [] and [p.name for p in tmp_path.iterdir()] == ["f.json"]


def test_the_result_of_a_search_is_not_a_front(run, front, tmp_path):
    from dataclasses import replace

    save_result(replace(front, candidates=[]), tmp_path / "f.json")
    assert "f.json: is not a front" in run("pareto", "--from", "f.json", "--pick", "knee", code=2).stderr


def test_an_interrupted_front_says_so(run, profile, stand_in, front):
    from dataclasses import replace

    stand_in(workflow, "front_file", replace(front, interrupted=True))
    said = run("pareto", "--profile", profile).stdout
    assert said.startswith("stopped; this is the front found so far\n")
