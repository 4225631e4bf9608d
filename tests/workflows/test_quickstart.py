"""The whole job in one call: its stages, its budget, and the files it refuses to replace."""

from types import SimpleNamespace

import pytest

from deploy_nas.core.errors import BudgetError, OutputError
from deploy_nas.core.spaces import embedded_space
from deploy_nas.records.architecture import load_architecture
from deploy_nas.workflows import quickstart as workflow
from deploy_nas.workflows.quickstart import quickstart


@pytest.fixture
def stages(monkeypatch, made_profile):
    """Stand-ins for all stages but the search, which is real and small; what each was asked."""
    asked = {}

    def profile_device(request, progress=None):
        asked["profile"] = request
        return made_profile(faults=("too slow",))

    def export_onnx(architecture, path, **options):
        asked["export"] = {"architecture": architecture, "path": path, **options}

    def verify_here(model, profile, *, seed):
        asked["verify"] = (model, profile, seed)
        return "verified"

    def write_report(findings, path, commands, *, force):
        asked["report"] = (findings, path, commands, force)

    search = workflow.search

    def small(profile, predictor, request):
        from dataclasses import replace

        asked["search"] = request
        return search(
            profile, predictor, replace(request, hyper={"population_size": 20, "max_time_budget": 2})
        )

    for function in (profile_device, export_onnx, verify_here, write_report):
        monkeypatch.setattr(workflow, function.__name__, function)
    monkeypatch.setattr(workflow, "search", small)
    monkeypatch.setattr(workflow, "read_model", lambda path: SimpleNamespace(path=path))
    return asked


def test_each_stage_has_what_the_one_before_made(stages, tmp_path):
    said = []
    done = quickstart(tmp_path / "a/q", threads=2, quick=True, seed=3, say=said.append)
    assert said == list(done.stages_s) == ["profile", "search", "export", "verify", "report"]
    folder, request = tmp_path / "a/q", stages["profile"]
    assert (request.space, request.output) == (embedded_space().id, folder / "profile.json")
    assert (request.threads, request.quick, request.seed) == (2, True, 3)
    assert stages["search"].allow_unstable and stages["search"].seed == 3
    assert load_architecture(folder / "best.json") == done.record
    assert stages["export"]["path"] == folder / "best.onnx" and stages["export"]["seed"] == 3
    assert stages["export"]["architecture"] == done.record.architecture
    assert stages["export"]["profile_id"] == done.profile.id
    model, profile, seed = stages["verify"]
    assert (model.path, profile, seed) == (folder / "best.onnx", done.profile, 3)
    findings, page, commands, force = stages["report"]
    assert findings.record == done.record and findings.verification == done.verification == "verified"
    assert (page, commands, force) == (folder / "report.html", None, True)


def test_the_budget_lies_between_the_fastest_and_the_slowest(stages, tmp_path):
    done = quickstart(tmp_path / "q")
    budget, space = done.record.predicted.budget_ms, embedded_space()
    ends = [space.smallest(done.profile.image_sizes[0]), space.largest(done.profile.image_sizes[-1])]
    low, high = done.profile.latency_ms(space.encode(ends))
    assert low < budget < high and done.record.predicted.bound_ms <= budget
    quickstart(tmp_path / "q", max_latency_ms=0.5, force=True)
    assert stages["search"].budgets == {"latency_ms": 0.5}


def test_the_commands_are_made_of_the_paths(stages, tmp_path):
    quickstart(tmp_path / "q", commands=lambda paths: sorted(paths))
    assert stages["report"][2] == ["best", "model", "profile", "report"]


@pytest.mark.parametrize("name", ["profile.json", "best.json", "best.onnx", "report.html"])
def test_files_of_an_earlier_run_are_kept_without_force(stages, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match=f"{name}: exists already; use `force`, or another `output` folder"):
        quickstart(tmp_path)
    assert (tmp_path / name).read_text() == "mine" and stages == {}
    quickstart(tmp_path, force=True)


def test_an_invalid_budget_or_folder_is_named_before_the_work(stages, tmp_path):
    with pytest.raises(BudgetError, match="positive number"):
        quickstart(tmp_path / "q", max_latency_ms=-1.0)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: cannot be made"):
        quickstart(tmp_path / "file")
    assert stages == {}
