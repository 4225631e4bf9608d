"""The front, what is picked from it, and the files of both."""

import json

import pytest

from deploy_nas.core.errors import (
    BudgetError,
    InfeasibleBudgetError,
    OptionError,
    RecordError,
)
from deploy_nas.workflows import pareto as workflow
from deploy_nas.workflows.pareto import find_front, load_front, pick
from deploy_nas.workflows.question import (
    LATENCY,
    SearchRequest,
    predictor_for,
)

pytestmark = pytest.mark.shared_out

FEW = ("--population", 60, "--generations", 4)


def test_with_a_front_given_no_option_of_a_search_is_taken(run, profiles, tmp_path):
    run("pareto", "--profile", profiles[0], "--evaluations", 2000)
    again = ("pareto", "--from", "front.json", "--pick", "knee")
    for option, value in (("--max-latency-ms", 0.3), ("--confidence", "none"), ("--seed", 1), ("-o", "x")):
        assert "has no effect with --from" in run(*again, option, value, code=2).stderr
    assert not (tmp_path / "best.json").exists()
    run(*again)


def test_front_pick_and_result_files(run, profiles, tmp_path):
    run("pareto", "--profile", profiles[0], "--evaluations", 3000, "--pick", "knee")
    front = load_front(tmp_path / "front.json")
    ms = [c.record.predicted.latency_ms for c in front.candidates]
    top1 = [c.record.predicted.accuracy for c in front.candidates]
    assert ms == sorted(ms) and top1 == sorted(top1) and len(ms) > 10
    knee = json.loads((tmp_path / "best.json").read_text())
    assert ms[0] < knee["predicted"]["latency_ms"] < ms[-1]
    run("pareto", "--from", "front.json", "--pick", 0.4, "--pick-output", "p.json")
    picked = json.loads((tmp_path / "p.json").read_text())["predicted"]
    assert picked["bound_ms"] <= 0.4 == picked["budget_ms"]
    assert picked["accuracy"] == max(
        c.record.predicted.accuracy for c in front.candidates if c.record.predicted.bound_ms <= 0.4
    )
    before = (tmp_path / "front.json").read_bytes()
    same = ("--pick", "knee", "--pick-output", "front.json", "--force")
    assert "front's own file" in run("pareto", "--from", "front.json", *same, code=2).stderr
    assert "front's own file" in run("pareto", "--profile", profiles[0], *same, code=2).stderr
    assert (tmp_path / "front.json").read_bytes() == before
    assert "--pick" in run("pareto", "--profile", "nowhere", "--pick", "nan", code=2).stderr
    again = ("pareto", "--from", "front.json", "--pick-output", "q.json", "--pick")
    assert "begins at" in run(*again, 0.001, code=2).stderr
    assert "--pick" in run(*again, "elbow", code=2).stderr
    with pytest.raises(OptionError):
        pick(front, "-3")
    run("search", "--profile", profiles[0], "--max-latency-ms", 0.4, "-o", "s.json", *FEW)
    assert "is not a front" in run(*again[:1], "--from", "s.search.json", *again[3:], 1, code=2).stderr
    text = (tmp_path / "front.json").read_text()
    (tmp_path / "front.json").write_text(text[:300])
    with pytest.raises(RecordError, match="cut short"):
        load_front(tmp_path / "front.json")


def test_a_kill_before_the_pick_lets_the_same_command_run_again(run, profiles, monkeypatch, tmp_path):
    def killed(*arguments, **named):
        raise MemoryError

    same = ("pareto", "--profile", profiles[0], "--evaluations", 1000, "--pick", "knee")
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "pick_file", killed)
        run(*same, code=2)
    left = (tmp_path / "front.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "find_front", killed)  # refused before it is searched again
        for other in ("--seed", 1), ("--evaluations", 1001), ("--max-macs-millions", 5):
            assert "front.json: exists already" in run(*same, *other, code=2).stderr
    assert "front.json: exists already" in run(*same[:-2], code=2).stderr
    run(*same)
    assert (tmp_path / "front.json").read_bytes() == left and (tmp_path / "best.json").is_file()
    assert "best.json: exists already" in run(*same, code=2).stderr


def test_a_budget_that_nothing_meets_is_told_by_its_name(made_profile):
    profile, request = made_profile(), SearchRequest(budgets={LATENCY: 0.01})
    with pytest.raises(InfeasibleBudgetError) as caught:
        find_front(profile, predictor_for(profile, None), request, evaluations=500)
    assert caught.value.subject == LATENCY and caught.value.nearest > 0.01


def test_a_front_is_the_same_again_and_says_what_was_asked(made_profile):
    profile, request = made_profile(), SearchRequest(budgets={LATENCY: 0.4}, seed=5)
    one, again = (
        find_front(profile, predictor_for(profile, None), request, evaluations=2000)[0] for _ in range(2)
    )
    assert one == again and one.kind == "front"
    assert one.asked.evaluations == 2000 and one.asked.hyper == {} and one.asked.seed == 5
    said = [c.record.predicted for c in one.candidates]
    assert all(p.bound_ms <= 0.4 and p.profile == profile.id for p in said)


def test_picks_keep_how_they_were_picked(made_profile):
    profile = made_profile()
    front, _ = find_front(profile, predictor_for(profile, None), SearchRequest(budgets={}), evaluations=2000)
    knee, fast = pick(front, "knee").predicted, pick(front, "0.4ms").predicted
    assert (knee.picked, knee.budget_ms) == ("knee", None)
    assert (fast.picked, fast.budget_ms) == ("0.4", 0.4) and fast.bound_ms <= 0.4
    for what in ("nan", "inf", "0", "elbow"):
        with pytest.raises(OptionError, match="pick: must be"):
            pick(front, what)
    with pytest.raises(BudgetError, match="pick: the front begins at"):
        pick(front, "0.001")
