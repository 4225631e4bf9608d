"""Searches as commands: several devices, budgets, the bounds, Ctrl-C, repeats."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from deploy_nas.core.errors import (
    BudgetMissedError,
)
from deploy_nas.core.spaces import get_space
from deploy_nas.records.architecture import load_architecture
from deploy_nas.records.profile import load_profile
from deploy_nas.records.result import load_result
from deploy_nas.workflows import search as workflow
from deploy_nas.workflows.question import (
    LATENCY,
    SearchRequest,
)
from deploy_nas.workflows.search import search_file

pytestmark = pytest.mark.shared_out

SPACE = "ofa-mbv3-cifar10"
QUICK = {"population_size": 60, "max_time_budget": 4}
FEW = ("--population", 60, "--generations", 4)


def test_two_devices_keep_both_budgets(run, profiles, tmp_path):
    both = ("search", "--profile", profiles[0], "--max-latency-ms", 0.4, "--profile", profiles[1])
    said = run(*both, "--max-latency-ms", 0.6, *FEW).output
    assert "on slow" in said
    found = json.loads((tmp_path / "best.json").read_text())
    there = found["predicted"]["others"][0]
    assert there["device"] == "slow" and there["bound_ms"] <= there["budget_ms"] == 0.6
    assert found["predicted"]["bound_ms"] <= 0.4 and found["image_size"] in (24, 28)
    space = get_space(SPACE)
    slow = load_profile(tmp_path / profiles[1])
    row = space.encode([{k: found[k] for k in ("ks", "e", "d", "image_size")}])
    assert slow.latency_ms(row)[0] == pytest.approx(there["latency_ms"], abs=1e-6)
    said = run(*both, "--max-latency-ms", 0.01, "--force", *FEW, code=2).stderr
    assert "latency_ms@slow" in said and "fastest architecture found takes" in said
    assert "one for each profile" in run(*both, "--force", code=2).stderr


def test_a_kill_between_the_two_files_lets_the_same_command_run_again(run, profiles, monkeypatch, tmp_path):
    def killed(*arguments, **named):
        raise MemoryError

    same = ("search", "--profile", profiles[0], "--max-latency-ms", 0.3, *FEW)
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "save_architecture", killed)
        run(*same, code=2)
    left = tmp_path / "best.search.json"
    before = left.read_bytes()
    for other in ("--seed", 1), ("--population", 61), ("--max-macs-millions", 5):
        assert "best.search.json: exists already" in run(*same, *other, code=2).stderr
    assert left.read_bytes() == before
    run(*same)
    assert left.read_bytes() == before and (tmp_path / "best.json").is_file()
    assert "best.json: exists already" in run(*same, code=2).stderr
    (tmp_path / "best.json").unlink()
    missed = json.loads(before)
    measured = {"latency_ms": 9.0, "within_budget": False, "p50_ms": 9.0, "p90_ms": 9.0, "p99_ms": 9.0}
    for damaged in ({**missed, "candidates": [missed["candidates"][0] | {"measured": measured}]}, {"x": 1}):
        left.write_text(json.dumps(damaged))
        assert "best.search.json: exists already" in run(*same, code=2).stderr


def test_the_hint_of_an_impossible_budget_is_true(run, profiles):
    asked = ("search", "--profile", profiles[0], *FEW, "--max-latency-ms")
    said = run(*asked, 0.05, code=2).stderr
    least = float(re.search(r"allow at least ([0-9.]+)", said)[1])
    assert "confidence" in said and said.count("--max-latency-ms:") == 1
    run(*asked, least)


def test_without_confidence_there_is_no_bound(run, profiles, tmp_path):
    said = run("search", "--profile", profiles[0], "--max-latency-ms", 0.3, "--confidence", "none", *FEW)
    assert "no bound" in said.output and "by its bound" not in said.output
    assert json.loads((tmp_path / "best.json").read_text())["predicted"]["bound_ms"] is None


def test_model_size_is_a_budget_and_an_upper_bound_of_the_file(run, profiles, tmp_path):
    run("search", "--profile", profiles[0], "--max-model-mb", 3.0, *FEW)
    run("export", "best.json")
    size = (tmp_path / "best.onnx").stat().st_size / 1e6
    predicted = load_architecture(tmp_path / "best.json").predicted.figures["model_mb"]
    assert size <= predicted <= 3.0 and predicted - size < 0.05
    said = run("search", "--profile", profiles[0], "--max-model-mb", 0.1, "--force", *FEW, code=2).stderr
    assert "--max-model-mb" in said and "a file of" in said


@pytest.mark.parametrize("id", ["mcunet-vww", "ofa-mbv3-w1.0", "ofa-proxyless-w1.3"])
def test_files_with_shapes_and_labels_are_within_the_bound(id):
    from deploy_nas.adapters.graphs import build_model, weight_shapes, with_shapes
    from deploy_nas.search.efficiency import AnalyticalEfficiencyPredictor

    space = get_space(id)
    metadata = {"labels": ["a label of many letters"] * space.classes, "predicted": {"note": "x" * 3000}}
    for architecture in (space.smallest(), space.largest()):
        layers = space.layers(architecture)
        weights = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(layers).items()}
        size = len(with_shapes(build_model(layers, weights, metadata=metadata))) / 1e6
        bound = AnalyticalEfficiencyPredictor(space).get_efficiency(architecture)["model_mb"]
        assert size <= bound < size + 0.05


def test_a_missed_measurement_leaves_no_older_answer_to_be_taken_for_it(run, profiles, tmp_path, monkeypatch):
    run("search", "--profile", profiles[0], "--max-latency-ms", 0.4, *FEW)

    def missed(*_, **__):
        raise BudgetMissedError("slower than the budget")

    monkeypatch.setattr(workflow, "check_measurable", lambda question, count: None)
    monkeypatch.setattr(workflow, "time_candidates", missed)
    measured = ("search", "--profile", profiles[0], "--max-latency-ms", 0.3, "--measure-top", 2, *FEW)
    run(*measured, "--force", code=1)
    assert not (tmp_path / "best.json").exists() and (tmp_path / "best.search.json").exists()


def test_anchors_and_known_bias_are_shown(run, profiles, tmp_path):
    asked = ("search", "--profile", profiles[0], "--max-latency-ms", 0.4, *FEW)
    run(*asked)
    plain = json.loads((tmp_path / "best.json").read_text())
    said = run(*asked, "--anchor", "best.json=70", "-o", "based.json").output
    based = json.loads((tmp_path / "based.json").read_text())
    assert "re-based on 1 measured subnet" in said
    assert based["predicted"]["accuracy"] == pytest.approx(70, abs=1e-3)
    assert {k: based[k] for k in ("ks", "e", "d")} == {k: plain[k] for k in ("ks", "e", "d")}
    assert "re-based" in based["predicted"]["accuracy_note"]


@pytest.mark.slow
def test_same_seed_same_answer_in_another_process(profiles, run, tmp_path):
    asked = ["search", "--profile", profiles[0], "--max-latency-ms", "0.4", "--seed", "5", *map(str, FEW)]
    run(*asked, "-o", "here.json")
    code = f"from deploy_nas.cli import main; main({[*asked, '-o', 'there.json']!r})"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    here, there = (tmp_path / name for name in ("here.search.json", "there.search.json"))
    assert here.read_text() == there.read_text()


def test_ctrl_c_gives_the_best_so_far_and_its_history(made_profile, tmp_path):
    def stop(generation, generations, best):
        if generation == 2:
            raise KeyboardInterrupt

    request = SearchRequest(budgets={LATENCY: 0.4}, hyper=QUICK)
    found = search_file(made_profile(), tmp_path / "b.json", request, progress=stop)
    saved = load_result(tmp_path / "b.search.json")
    assert found.result.interrupted and saved.interrupted and len(saved.history) == 3
    assert saved.candidates[0].record.architecture == found.record.architecture
    assert found.record.predicted.bound_ms <= 0.4
