"""From images to verified networks in one call, for real: a tiny supernet, and a profile that is given."""

from dataclasses import replace

import pytest

from deploy_nas.core.errors import BudgetError, MismatchError
from deploy_nas.deploy.model_file import read_model
from deploy_nas.records.build import load_build
from deploy_nas.records.bundle import is_bundle
from deploy_nas.records.profile import save_profile
from deploy_nas.workflows import build_budget
from deploy_nas.workflows.build import build, check_budgets, training_for

pytestmark = pytest.mark.slow

SPACE = "ofa-mbv3-cifar10@3@20+24"


@pytest.fixture(scope="module", autouse=True)
def few_candidates():
    """Two candidates are timed instead of eight."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_budget, "_MEASURED", 2)
        yield


@pytest.fixture
def asked(built):
    """A request, and what was built by it."""
    return built


def test_everything_that_is_promised_is_there(asked):
    request, (built,) = asked
    assert built.folder == request.output / "15ms" and built.within_budget
    for name in ("best.json", "best.search.json", "best.onnx", "report.html", "build.json"):
        assert (built.folder / name).is_file()
    assert is_bundle(built.folder / "bundle")
    assert load_build(built.folder / "build.json") == built.record
    assert set(built.record.stages_s) >= {
        "profile",
        "train",
        "search",
        "finetune",
        "export",
        "verify",
        "report",
    }


def test_what_is_promised_was_measured(asked):
    _, (built,) = asked
    first = built.record.models[0]
    model = read_model(built.folder / first.file)
    assert model.metadata.labels == ("blue", "green", "red")
    assert model.metadata.certificate.top1 == first.validation
    assert first.measured_ms == pytest.approx(model.metadata.certificate.measured.latency_ms)
    assert first.test.images == 60 and first.validation.images == 9
    said = model.metadata.predicted
    if built.record.tuned.kept:
        assert said.accuracy == pytest.approx(built.record.tuned.after.percent, abs=1e-3)
        assert "after fine-tuning" in said.accuracy_note
    page = (built.folder / "report.html").read_text(encoding="utf-8")
    assert "Accuracy by class" in page and "Training" in page


def test_the_same_call_again_does_nothing_anew(asked):
    request, (built,) = asked
    before = (built.folder / "best.onnx").stat().st_mtime_ns
    said = []
    (again,) = build(request, said.append)
    assert again.record == built.record and (built.folder / "best.onnx").stat().st_mtime_ns == before
    assert not any(line.startswith(("search", "finetune", "export")) for line in said)


def test_another_budget_shares_the_training(asked):
    request, (built,) = asked
    said = []
    first, second = build(replace(request, budgets_ms=(15.0, 12.0)), said.append)
    assert "this supernet is trained already" in said and first.record == built.record
    assert second.folder.name == "12ms" and second.within_budget


def test_nothing_of_another_device_is_measured_here(asked, made_profile):
    request, _ = asked
    elsewhere = replace(
        request,
        budgets_ms=(13.0,),
        profile=made_profile(SPACE, speed=0.02),
        finetune_epochs=0,
        int8=False,
        test=None,
    )
    (built,) = build(elsewhere)
    (model,) = built.record.models
    assert (model.measured_ms, built.within_budget, built.record.tuned) == (None, None, None)
    assert model.predicted_ms == pytest.approx(built.architecture.predicted.latency_ms)


def test_a_build_stopped_between_stages_goes_on(asked):
    request, _ = asked

    def stop(line):
        if line.startswith("export"):
            raise KeyboardInterrupt

    other = replace(request, budgets_ms=(14.0,), int8=False)
    with pytest.raises(KeyboardInterrupt):
        build(other, stop)
    said = []
    (built,) = build(other, said.append)
    assert built.record.models and not any(line.startswith(("search", "finetune")) for line in said)


def test_a_budget_below_the_fastest_subnet_is_said_before_training(asked, made_profile, tmp_path):
    request, _ = asked
    elsewhere = replace(request, output=tmp_path, training=training_for(tmp_path, request.training))
    with pytest.raises(BudgetError, match=r"0\.1 ms is below the fastest subnet, which needs up to"):
        build(replace(elsewhere, budgets_ms=(0.1,)))
    with pytest.raises(BudgetError, match="must be a positive number"):
        build(replace(elsewhere, budgets_ms=(-1.0,)))
    assert not (tmp_path / "supernet").exists()
    check_budgets(made_profile(SPACE), [100.0])


def test_a_profile_of_another_space_is_named(asked, made_profile, tmp_path):
    request, _ = asked
    save_profile(made_profile(), tmp_path / "p.json")
    with pytest.raises(MismatchError, match=r"p\.json: is of space ofa-mbv3-cifar10, not"):
        build(replace(request, profile=tmp_path / "p.json"))
    with pytest.raises(MismatchError, match=rf"{made_profile().id}: is of space ofa-mbv3-cifar10, not"):
        build(replace(request, profile=made_profile()))


def test_of_several_processes_all_train_and_the_first_does_the_rest(asked, monkeypatch):
    from deploy_nas.workflows import build as workflow

    request, _ = asked
    trained = []

    def train(request, say, said):
        trained.append(request)
        raise SystemExit(0)

    monkeypatch.setattr(workflow, "is_first", lambda: False)
    monkeypatch.setattr(workflow, "train", train)
    with pytest.raises(SystemExit):
        build(request)
    assert trained == [request.training]
