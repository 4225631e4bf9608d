"""Result files: there and back, those of the version before, and every fault by its name."""

import json
import re
from dataclasses import replace

import pytest

from deploy_nas.core.errors import ArchitectureError, MismatchError, OutputError, RecordError, VersionError
from deploy_nas.core.notices import Notice
from deploy_nas.core.predicted import Elsewhere, Predicted
from deploy_nas.core.spaces import embedded_space
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.result import (
    FRONT,
    SEARCH,
    Asked,
    Candidate,
    SearchRecord,
    Timed,
    load_result,
    save_result,
)

SPACE = embedded_space()
SAID = Predicted(
    latency_ms=0.3,
    bound_ms=0.32,
    confidence=0.95,
    accuracy=81.0,
    accuracy_unit="percent",
    profile="a",
    provider="FastProvider",
    others=(Elsewhere(device="slow", profile="b", latency_ms=0.6),),
)
SMALL = ArchitectureRecord(space=SPACE, architecture=SPACE.smallest(24), predicted=SAID)
LARGE = ArchitectureRecord(space=SPACE, architecture=SPACE.largest(32), predicted=SAID)
ASKED = Asked(
    profiles={"latency_ms": "a", "latency_ms@slow": "b"},
    budgets={"latency_ms": 0.35, "latency_ms@slow": 0.7, "millionMACs": 9.0},
    confidence=None,
    predictor="acc.onnx",
    anchors=("a.json=80",),
    image_sizes=(24, 32),
    bytes_per_element=4,
    hyper={"population_size": 60.0, "max_time_budget": 4.0},
    seed=7,
    measure_top=2,
)
RESULT = SearchRecord(
    kind=SEARCH,
    space=SPACE,
    asked=ASKED,
    history=(80.0, 81.0),
    evaluations=240,
    interrupted=False,
    candidates=(
        Candidate(record=LARGE, measured=Timed(latency_ms=0.33, within_budget=True, p50_ms=0.34, p99_ms=0.5)),
        Candidate(record=SMALL),
    ),
)
FRONT_ASKED = replace(ASKED, hyper={}, measure_top=0, evaluations=3000)

# As the version before wrote them; keys of their own would be kept with the architectures.
OLD_SEARCH = """{"format": "deploy-nas search result", "version": 1, "kind": "search",
 "space": "ofa-mbv3-cifar10",
 "asked": {"profiles": {"latency_ms": "a"}, "budgets": {"latency_ms": 0.35}, "confidence": 0.95,
  "predictor": null, "anchors": [], "image_sizes": [20, 24], "bytes_per_element": 1,
  "hyper": {"population_size": 60, "max_time_budget": 4}, "seed": 3, "measure_top": 2},
 "history": [80, 81.5], "evaluations": 240, "interrupted": false, "candidates": [
 {"space": "ofa-mbv3-cifar10", ARCHITECTURE, "predicted": {"latency_ms": 0.3, "millionMACs": 5.25,
  "params_million": 0.55, "KBPeakMemory": 61.0, "model_mb": 2.24, "accuracy": 81.5,
  "accuracy_unit": "percent", "bound_ms": 0.32, "confidence": 0.95, "profile": "a", "threads": 1,
  "precision": "fp32", "seed": 3,
  "budget_ms": 0.35},
  "measured": {"latency_ms": 0.31, "p50_ms": 0.32, "p90_ms": 0.33, "p99_ms": 0.4, "within_budget": true}},
 {"space": "ofa-mbv3-cifar10", ARCHITECTURE, "predicted": {"latency_ms": 0.3, "accuracy": 81.0,
  "bound_ms": null, "confidence": null}, "measured": {}}
]}"""


def old(text=OLD_SEARCH):
    architecture = json.dumps(SPACE.smallest(24))[1:-1]
    return text.replace("ARCHITECTURE", architecture)


@pytest.mark.parametrize(
    "result",
    [
        RESULT,
        replace(RESULT, interrupted=True, candidates=()),
        replace(RESULT, kind=FRONT, history=(), asked=FRONT_ASKED),
        replace(RESULT, asked=Asked(bytes_per_element=1)),
    ],
    ids=["search", "nothing found", "front", "nothing asked"],
)
def test_there_and_back(tmp_path, result):
    save_result(result, tmp_path / "r.json")
    assert load_result(tmp_path / "r.json") == result


def test_a_front_and_a_search_say_what_makes_each_repeatable():
    search, front = ASKED.to_json(), FRONT_ASKED.to_json()
    assert search["hyper"] == {"population_size": 60.0, "max_time_budget": 4.0} and search["measure_top"] == 2
    assert front["evaluations"] == 3000 and not {"hyper", "measure_top"} & set(front)
    assert "image_sizes" not in Asked().to_json()


def test_candidates_have_a_line_each(tmp_path):
    save_result(RESULT, tmp_path / "r.json")
    lines = (tmp_path / "r.json").read_text().splitlines()
    assert len(lines) == 4 and json.loads(lines[1].removesuffix(","))["measured"]["latency_ms"] == 0.33
    assert json.loads(lines[2])["measured"] == {}


def test_what_is_there_is_kept(tmp_path):
    (tmp_path / "r.json").write_text("kept")
    with pytest.raises(OutputError, match="exists already"):
        save_result(RESULT, tmp_path / "r.json")
    assert (tmp_path / "r.json").read_text() == "kept"
    save_result(RESULT, tmp_path / "r.json", force=True)


def test_only_those_that_were_timed_are_given_as_timed():
    assert RESULT.timed == [(LARGE, RESULT.candidates[0].measured)]


def test_a_result_of_before_is_read(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(old())
    with pytest.warns(Notice, match=r"old\.json: was not written by this deploy-nas, or was edited"):
        found = load_result(path)
    assert not found.sealed
    assert found.kind == SEARCH and found.history == (80.0, 81.5) and found.evaluations == 240
    assert found.asked == Asked(
        profiles={"latency_ms": "a"},
        budgets={"latency_ms": 0.35},
        confidence=0.95,
        image_sizes=(20, 24),
        hyper={"population_size": 60, "max_time_budget": 4},
        seed=3,
        measure_top=2,
    )
    first, second = found.candidates
    assert first.measured == Timed(latency_ms=0.31, within_budget=True, p50_ms=0.32, p90_ms=0.33, p99_ms=0.4)
    assert first.record.predicted.provider is None and first.record.predicted.figures["model_mb"] == 2.24
    assert second.measured is None and second.record.predicted.bound_ms is None
    save_result(found, tmp_path / "new.json")
    assert load_result(tmp_path / "new.json") == replace(found, sealed=True)


def test_a_front_of_before_is_read(tmp_path):
    asked = '"seed": 3, "evaluations": 3000}'
    text = old().replace('"kind": "search"', '"kind": "front"').replace('"seed": 3, "measure_top": 2}', asked)
    text = text.replace('"hyper": {"population_size": 60, "max_time_budget": 4}, ', "")
    (tmp_path / "front.json").write_text(text)
    with pytest.warns(Notice):
        found = load_result(tmp_path / "front.json")
    assert found.kind == FRONT and found.asked.evaluations == 3000 and found.asked.hyper == {}


@pytest.mark.parametrize("key", ["latency_ms", "millionMACs", "accuracy", "seed", "bound_ms", "p50_ms"])
def test_an_edited_number_is_refused(tmp_path, key):
    path = tmp_path / "r.json"
    save_result(RESULT, path)
    text = path.read_text()
    places = [place.end() for place in re.finditer(rf'"{key}": [0-9]', text)]
    for end in places:
        path.write_text(f"{text[: end - 1]}{(int(text[end - 1]) + 1) % 10}{text[end:]}")
        with pytest.raises(MismatchError, match=r"r\.json: was edited or damaged.*make it again"):
            load_result(path)
    assert places
    path.write_text(text.replace('"digest"', '"d"'))
    with pytest.raises(MismatchError, match="its digest is missing"):
        load_result(path)


@pytest.mark.filterwarnings("ignore::deploy_nas.core.notices.Notice")
@pytest.mark.parametrize(
    ("was", "becomes", "kind", "what"),
    [
        ('"deploy-nas search result"', '"another"', RecordError, "result file of search or pareto"),
        ('"version": 1', '"version": 3', VersionError, "has format version 3"),
        ('"version": 1', '"version": "1"', RecordError, "'version' must be a whole number"),
        ('"kind": "search"', '"kind": "walk"', RecordError, "'kind' must be search or front, is 'walk'"),
        ('"history": [80, 81.5]', '"history": [80, "x"]', RecordError, r"history\[1\]"),
        ('"interrupted": false', '"interrupted": 0', RecordError, "'interrupted' must be true or false"),
        ('"evaluations": 240', '"evaluations": -1', RecordError, "'evaluations' must be a whole number"),
        (
            '"budgets": {"latency_ms": 0.35}',
            '"budgets": {"latency_ms": 0}',
            RecordError,
            "'latency_ms' must be",
        ),
        (
            '"profiles": {"latency_ms": "a"}',
            '"profiles": {"latency_ms": 3}',
            RecordError,
            "'latency_ms' must be",
        ),
        ('"anchors": []', '"anchors": [3]', RecordError, r"anchors\[0\]"),
        ('"seed": 3, "measure_top": 2', '"seed": "3", "measure_top": 2', RecordError, "'seed' must be"),
        ('"within_budget": true', '"within_budget": 1', RecordError, "measured: 'within_budget' must be"),
        ('"latency_ms": 0.31', '"latency_ms": 0', RecordError, "measured: 'latency_ms' must be a positive"),
        ('"accuracy": 81.5,', "", RecordError, r"candidates\[0\]: predicted: lacks 'accuracy'"),
        ('"image_size": 24', '"image_size": 25', ArchitectureError, r"candidates\[0\]: image_size"),
    ],
)
def test_faults_name_file_and_key(tmp_path, was, becomes, kind, what):
    path, text = tmp_path / "r.json", old()
    assert was in text
    path.write_text(text.replace(was, becomes, 1))
    with pytest.raises(kind, match=what) as caught:
        load_result(path)
    assert str(caught.value).startswith(f"{path}")


def test_a_result_cut_short_is_named(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(old()[:500])
    with pytest.raises(RecordError, match=r"r\.json: is not JSON, or is cut short|truncated"):
        load_result(path)
