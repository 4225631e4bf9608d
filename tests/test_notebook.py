"""The notebook runs from its first cell to its last, and the code of the guide's chapter on Python too."""

import re
from pathlib import Path

import pytest

from deploy_nas.records.profile import save_profile

GUIDE = Path(__file__).resolve().parents[1] / "docs/guide"
NOTEBOOK = GUIDE / "from-profile-to-file.ipynb"

# A profile of seconds, whose times are of no use and are not judged, and a predictor that learnt little.
HURRY = """
from dataclasses import replace
from deploy_nas.accuracy.fit import FitSettings
from deploy_nas.core import conditions
from deploy_nas.deploy import measuring
from deploy_nas.device import cores
from deploy_nas.records import profile as records
from deploy_nas.workflows import profile as workflow
from deploy_nas.workflows import train

conditions.LEAST_BUSY, conditions.MOST_SPREAD_PERCENT, cores._SAMPLE_S = 0.0, float("inf"), 0.0
records.Profile.faults = ()
whole = workflow.settings_for
workflow.settings_for = lambda request: replace(whole(request), **{changes})
plan = workflow.plan_for
workflow.plan_for = lambda *of: replace(plan(*of), fit_per_size=6, validation_per_size=4)
in_full, few = measuring.measure_models, {"rounds": 2, "burst_ms": 0.5, "least_runs": 3, "pause_s": 0.0}
measuring.measure_models = lambda models, how, *a, **k: in_full(models, replace(how, **few), *a, **k)
settings, fit = train.PredictorSettings, FitSettings(hidden=(16, 16), taught=100, epochs=2)
train.PredictorSettings = lambda **how: settings(**{**how, "fit": fit})
"""


def code(page):
    """The Python of a page, in one piece."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE))


def test_the_chapter_on_python_runs(made_profile, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_profile(made_profile(), Path("my.profile.json"))
    exec(compile(code(GUIDE / "python.md"), "python.md", "exec"), {})  # noqa: S102


def test_the_notebook_holds_no_outputs():
    nbformat = pytest.importorskip("nbformat")
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch, quick_settings):
    nbformat = pytest.importorskip("nbformat")
    preprocessors = pytest.importorskip("nbconvert.preprocessors")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(GUIDE.parents[1]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    hurry = HURRY.replace("{changes}", repr(quick_settings))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(hurry))
    run = preprocessors.ExecutePreprocessor(timeout=300, kernel_name="python3")
    run.preprocess(notebook, {"metadata": {"path": str(tmp_path)}})
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    rich = [output.data["text/html"] for output in shown if "text/html" in output.get("data", {})]
    for part in ("<svg", "<table", "iframe"):
        assert any(part in page for page in rich), f"no {part} is shown"
    assert (tmp_path / "mine.onnx").is_file()
