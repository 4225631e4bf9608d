"""What the doctor finds, and what it advises, on machines of every kind."""

import sys
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from deploy_nas.core import extras
from deploy_nas.core.errors import ProviderError
from deploy_nas.core.fingerprint import UNKNOWN
from deploy_nas.device import releases
from deploy_nas.workflows import doctor
from deploy_nas.workflows.doctor import OK, examine


@pytest.fixture
def machine(monkeypatch):
    """``machine(load=..., governor=...)``: a machine with these readings."""
    quiet = {
        "cores": [0, 1],
        "quota_cores": None,
        "cpu_features": ["avx2"],
        "cpu_model": "a cpu",
        "load_average": 0.1,
        "governor": "performance",
        "steal_fraction": 0.0,
    }

    def readings(**changed):
        for name, value in {**quiet, **changed}.items():
            where = doctor.cores if name == "quota_cores" else doctor.machine
            monkeypatch.setattr(where, name, lambda value=value: value)

    monkeypatch.setattr(onnxruntime, "__version__", "1.32.0")  # a release that files are written for
    readings()
    return readings


def found():
    return {finding.what: finding for finding in examine()}


def test_a_quiet_machine_is_ok(machine):
    assert {f.advice for f in examine()} == {OK}
    held = found()
    assert held["onnxruntime"].value == onnxruntime.__version__ and held["numpy"].value == np.__version__
    assert held["cpu"].value == "a cpu" and "CPUExecutionProvider" in held["providers"].value


@pytest.mark.parametrize(
    ("changed", "what", "value", "advice"),
    [
        ({"cores": [0]}, "cores", "1", "every other process disturbs the timings"),
        ({"quota_cores": 0.5}, "cores", "2, of which 0.5 by quota", "a CPU quota leaves 0.5"),
        ({"load_average": 1.5}, "load", "1.50", "stop other work"),
        ({"governor": "powersave"}, "governor", "powersave", "set it to performance"),
        ({"steal_fraction": 0.05}, "steal", "5.00%", "expect noise"),
        ({"load_average": None}, "load", UNKNOWN, "unknown"),
        ({"governor": UNKNOWN}, "governor", UNKNOWN, "unknown"),
        ({"steal_fraction": None}, "steal", UNKNOWN, "unknown"),
        ({"cpu_features": []}, "vector units", UNKNOWN, "unknown"),
    ],
)
def test_what_disturbs_timings_is_named(machine, changed, what, value, advice):
    machine(**changed)
    assert found()[what].value == value and advice in found()[what].advice
    assert {f.advice for f in examine() if f.what != what} == {OK}


def test_a_quota_that_leaves_all_cores_is_none(machine):
    machine(quota_cores=2.0)
    assert found()["cores"].advice == OK


def test_telemetry_that_somebody_wants_is_named(machine, monkeypatch):
    assert found()["telemetry"].value == "off"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    assert found()["telemetry"].value == "on" and "ORT_DISABLE_TELEMETRY=1" in found()["telemetry"].advice


def test_missing_packages_are_named(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    held = found()
    assert held["torch"].value == "not installed" and "deploy-nas[supernets]" in held["torch"].advice
    assert held["onnx"].value == "missing" and "pip install onnx" in held["onnx"].advice


def test_another_build_of_onnxruntime_is_asked_itself(machine, monkeypatch):
    """It is installed by another name; two of them have the same files."""

    def installed(*names):
        monkeypatch.setattr(extras, "version", lambda name: "1.0" if name in names else None)
        return found()["onnxruntime"]

    one = installed("onnxruntime-openvino")
    assert one.value == f"{onnxruntime.__version__} (onnxruntime-openvino)" and one.advice == OK
    assert "uninstall all" in installed("onnxruntime", "onnxruntime-gpu").advice


def test_a_release_that_files_are_not_written_for_is_named(machine, monkeypatch):
    monkeypatch.setattr(onnxruntime, "__version__", "1.27.0")
    assert found()["onnxruntime"].advice == releases.advice("1.27.0")


def test_a_broken_runtime_is_a_finding(machine, monkeypatch):
    class Broken:
        name = "onnxruntime"

        def providers(self):
            raise ProviderError("onnxruntime cannot be imported (broken)")

    monkeypatch.setattr(doctor, "ONNX_RUNTIME", Broken())
    assert found()["providers"].value == "none" and "cannot be imported" in found()["providers"].advice


def test_openvino_is_named_installed_or_not(machine, monkeypatch):
    class Installed:
        name = "openvino"

        def providers(self):
            return ["openvino:CPU"]

        def fingerprint(self, **how):
            return doctor.ONNX_RUNTIME.fingerprint(**how)

    monkeypatch.setattr(doctor, "OPEN_VINO", Installed())
    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(__version__="2026.1"))
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert "not installed" in found()["openvino"].value
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: name)
    assert found()["openvino devices"].value == "openvino:CPU"


def test_ray_is_named_installed_or_not(machine, monkeypatch):
    monkeypatch.setattr(extras, "installed", lambda name: name != "ray")
    assert (
        found()["ray"].value == "not installed: an extra, deploy-nas[cluster]" and found()["ray"].advice == OK
    )
    monkeypatch.setattr(extras, "installed", lambda name: True)
    monkeypatch.setattr(extras, "version", lambda name: "2.60.0")
    assert found()["ray"].value == "2.60.0"
