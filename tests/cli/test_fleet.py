"""``deploy-nas fleet``: tables, JSON and exit codes."""

import json

import pytest

from deploy_nas.core.errors import TargetError, UnreachableError
from deploy_nas.core.measured import Measured
from deploy_nas.deploy.verify import compare, promise_of
from deploy_nas.records.profile import save_profile
from deploy_nas.workflows import fleet_profile, fleet_verify
from deploy_nas.workflows.verify import Verified

SPACE = "ofa-mbv3-cifar10"


@pytest.fixture
def fleet(tmp_path, made_profile, model_data, monkeypatch):
    """Two devices: the second has no onnxruntime."""
    promised = {"latency_ms": 1e6, "budget_ms": 1e6, "threads": 1}
    (tmp_path / "m.onnx").write_bytes(model_data(predicted=promised))
    text = f'spaces = ["{SPACE}"]\nbundles = ["m.onnx"]\n'
    text += "".join(f'[[device]]\nname = "{n}"\ntarget = "ssh://{n}"\n' for n in ("a", "bare"))
    (tmp_path / "fleet.toml").write_text(text)

    def profile(request, target, progress=None):
        if target.address.endswith("bare"):
            raise TargetError("no onnxruntime; goes on with `fresh`", subject=target.address)
        save_profile(made_profile(), request.output, force=request.force)
        return made_profile()

    monkeypatch.setattr(fleet_profile, "profile_target", profile)
    return "fleet.toml"


def measure(monkeypatch, made_profile, fault=None):
    """Devices take a millisecond; the second raises ``fault``."""

    def verify(models, profile, request, given=None, progress=None):
        if fault is not None and request.target.address.endswith("bare"):
            raise fault
        on, ms = (
            made_profile().fingerprint,
            Measured(latency_ms=1.0, p50_ms=1.0, p90_ms=1.0, p99_ms=1.0, runs=9),
        )
        return [Verified(name=m.subject, verification=compare(m, promise_of(m), ms, on)) for m in models]

    monkeypatch.setattr(fleet_verify, "verify_models", verify)


def test_profile(run, fleet):
    result = run("fleet", "profile", fleet, code=3)
    assert "FAILED" in result.stdout and "profiled" in result.stdout
    assert "bare ofa-mbv3-cifar10: ssh://bare: no onnxruntime; goes on with --fresh" in result.stdout
    assert f"a {SPACE}: begins" in result.stderr
    value = json.loads(run("fleet", "profile", fleet, "--only", "a", "--json").stdout)
    assert [(d["device"], d["state"], d["stable"], d["fault"]) for d in value["devices"]] == [
        ("a", "held", True, None)
    ]


def test_status(run, fleet):
    run("fleet", "profile", fleet, "-q", code=3)
    result = run("fleet", "status", fleet)
    assert "stable" in result.stdout and "no onnxruntime" in result.stdout
    a, bare = json.loads(run("fleet", "status", fleet, "--json").stdout)
    assert a["verdict"] == "stable" and bare["profile"] is None and "no onnxruntime" in bare["fault"]


def test_verify(run, fleet, monkeypatch, tmp_path, model_data, made_profile):
    measure(monkeypatch, made_profile)
    assert "kept" in run("fleet", "verify", fleet).stdout
    measure(monkeypatch, made_profile, UnreachableError("no route", subject="bare"))
    result = run("fleet", "verify", fleet, "--tries", "1", code=3)
    assert "UNREACHABLE" in result.stdout and "bare m.onnx: bare: no route" in result.stdout
    (tmp_path / "m.onnx").write_bytes(
        model_data(predicted={"latency_ms": 1e-6, "budget_ms": 1e-6, "threads": 1})
    )
    result = run("fleet", "verify", fleet, "--tries", "1", "--json", code=1)
    one, other = json.loads(result.stdout)["bundles"]
    assert (one["state"], other["state"]) == ("broken", "unreachable")
    assert one["models"]["m.onnx"]["promised_ms"] == 1e-6


def test_bad_input(run, fleet, tmp_path):
    run("fleet", "profile", "none.toml", code=2)
    run("fleet", "profile", fleet, "--only", "x", code=2)
    (tmp_path / "odd.toml").write_text("x = 1")
    assert "unknown key 'x'" in run("fleet", "status", "odd.toml", code=2).stderr


def test_stopped(run, fleet, monkeypatch):
    def stop(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(fleet_profile, "drive", stop)
    assert "the same command goes on" in run("fleet", "profile", fleet, code=130).stderr
