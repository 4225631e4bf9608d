"""``deploy-nas quickstart``: options to the workflow, the figures of what it made, and the next commands."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import OutputError
from deploy_nas.core.measured import Measured
from deploy_nas.deploy.verify import Verification
from deploy_nas.workflows import quickstart as workflow
from deploy_nas.workflows.quickstart import Quickstart

MEASURED = Measured(latency_ms=0.3, p50_ms=0.3, p90_ms=0.3, p99_ms=0.3, runs=9)
FOUND = Verification(measured=MEASURED, predicted_ms=0.25, budget_ms=0.35)


@pytest.fixture
def done(made_profile, record):
    """What a quickstart made."""
    return Quickstart(
        folder=Path("my folder"),
        profile=made_profile(),
        record=record,
        report=SimpleNamespace(million_macs=12.5, path=Path("my folder/best.onnx")),
        verification=FOUND,
        stages_s={"profile": 60.0, "search": 2.0},
    )


def test_defaults_and_options(run, stand_in, done):
    calls = stand_in(workflow, "quickstart", done)
    run("quickstart")
    run("quickstart", "-o", "d", "--max-latency-ms", 2, "--threads", 2, "--quick", "--seed", 5, "--force")
    (folder,), named = calls[0]
    assert folder == Path("quickstart") and named["max_latency_ms"] is None
    assert (named["threads"], named["quick"], named["seed"], named["force"]) == (1, False, 0, False)
    (folder,), named = calls[1]
    assert folder == Path("d") and named["max_latency_ms"] == 2.0
    assert (named["threads"], named["quick"], named["seed"], named["force"]) == (2, True, 5, True)


def test_figures_and_next_commands(run, stand_in, done):
    stand_in(workflow, "quickstart", done)
    said = run("quickstart").stdout.splitlines()
    row = next(line for line in said if line.endswith("best.onnx") and line.strip().startswith("0.350"))
    assert row.split()[:5] == ["0.350", "0.250", "0.300", "91.50", "12.50"]
    assert "budget kept" in said and "times: profile 60.0 s, search 2.0 s" in said
    assert "full report, for your browser: 'my folder'/report.html" in said
    search = next(line for line in said if line.startswith("  deploy-nas search"))
    assert search.endswith(
        "--profile 'my folder'/profile.json --max-latency-ms 0.525 -o 'my folder'/larger.json"
    )


def test_a_missed_budget_exits_1_and_a_slow_machine_is_noted(run, stand_in, done):
    missed = replace(FOUND, budget_ms=0.2, speed=0.8)
    stand_in(workflow, "quickstart", replace(done, verification=missed))
    said = run("quickstart", code=1).stdout
    assert "budget MISSED" in said and "runs at 0.80 of the speed" in said


def test_what_disturbed_the_measurement_is_said(run, stand_in, done):
    disturbed = replace(MEASURED, conditions=Conditions(quota_cores=0.5))
    stand_in(workflow, "quickstart", replace(done, verification=replace(FOUND, measured=disturbed)))
    said = run("quickstart").stdout
    assert "UNSTABLE: when it was measured: a CPU quota of 0.5 cores stops 1 thread" in said


def test_an_unstable_profile_is_allowed_in_the_next_command(run, stand_in, done, made_profile):
    stand_in(workflow, "quickstart", replace(done, profile=made_profile(faults=("too slow",))))
    said = run("quickstart").stdout
    assert "UNSTABLE: too slow" in said and "--allow-unstable -o" in said


def test_errors(run, stand_in):
    error = OutputError("exists already", subject="q", hint="use `force`, or another `output` folder")
    stand_in(workflow, "quickstart", error)
    said = run("quickstart", code=2).stderr.splitlines()[-1]
    assert said == "error: q: exists already; use --force, or another --output folder"
