"""OpenVINO as a runtime: what holds without it, and with it where it is installed."""

import io
import subprocess
import sys

import numpy as np
import pytest

from deploy_nas.core.errors import OptionError, ProviderError, RecordError
from deploy_nas.device import openvino
from deploy_nas.device.openvino import OpenVino
from deploy_nas.testing.runtime import RuntimeContract


def test_an_openvino_that_is_missing_or_too_old_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ProviderError, match=r"^openvino cannot be imported \(.*\); install it: .*openvino$"):
        OpenVino().resolve("openvino:cpu")
    old = type(sys)("openvino")
    old.__version__ = "2023.3.0-1"
    monkeypatch.setitem(sys.modules, "openvino", old)
    with pytest.raises(ProviderError, match=r"^openvino: is 2023.3.0-1, at least 2025.0 is needed"):
        OpenVino().resolve("openvino:cpu")


class _Core:
    """Has a processor, and compiles on one thread fewer than asked for."""

    available_devices = ("CPU", "GPU.0")

    def __init__(self):
        self.given = None

    def read_model(self, model):
        return model

    def compile_model(self, model, device, settings):
        self.given = (device, settings)
        return self

    def get_property(self, name):
        return int(self.given[1][name]) - 1


@pytest.fixture
def core(monkeypatch):
    made = _Core()
    monkeypatch.setattr(openvino, "_core", lambda: made)
    return made


def test_devices_are_named_with_the_runtime(core):
    runtime = OpenVino()
    assert list(runtime.providers()) == ["openvino:CPU", "openvino:GPU.0"]
    assert [runtime.resolve(p) for p in ("cpu", "OpenVINO:cpu", "gpu.0")] == [
        *("openvino:CPU", "openvino:CPU", "openvino:GPU.0")
    ]
    with pytest.raises(ProviderError, match=r"no device 'openvino:NPU' .*available are openvino:CPU"):
        runtime.resolve("openvino:NPU")


def test_what_cannot_be_honoured_is_refused(core):
    runtime = OpenVino()
    for given in ({"INFERENCE_NUM_THREADS": "4"}, {"NUM_STREAMS": "2"}, {"CACHE_DIR": "kept"}):
        with pytest.raises(OptionError, match=r"provider_option: .* cannot be set: "):
            runtime.open(b"", provider_options=given)
    with pytest.raises(OptionError, match="fused: is always true"):
        runtime.open(b"", fused=False)
    with pytest.raises(ProviderError, match=r"openvino:CPU: runs it on 1 thread\(s\), 2 were asked for"):
        runtime.open(b"", threads=2, provider_options={"INFERENCE_PRECISION_HINT": "bf16"})
    device, settings = core.given
    assert device == "CPU" and settings["INFERENCE_PRECISION_HINT"] == "bf16"
    assert settings["PERFORMANCE_HINT"] == "LATENCY" and settings["INFERENCE_NUM_THREADS"] == "2"


class _Compiler(_Core):
    """Counts what it compiles and imports; cannot import one that was damaged."""

    inputs = outputs = ()

    def __init__(self):
        self.compiled, self.imported = [], []

    def compile_model(self, model, device, settings):
        self.compiled.append(model)
        self.model, self.given = model, (device, settings)
        return self

    def export_model(self):
        return io.BytesIO(b"compiled " + self.model)

    def import_model(self, data, device, settings):
        if not (held := data.getvalue()).startswith(b"compiled "):
            raise RuntimeError("damaged")
        self.imported.append(held)
        return self

    def get_property(self, name):
        return int(self.given[1][name])

    def create_infer_request(self):
        return self


def test_a_model_that_is_opened_again_is_compiled_once(monkeypatch):
    made, runtime = _Compiler(), OpenVino()
    monkeypatch.setattr(openvino, "_core", lambda: made)
    monkeypatch.setattr(openvino.memory, "available_bytes", lambda: 100)
    kept = {}
    for model in (b"one", b"one", b"two", b"one"):
        runtime.open(model, kept=kept)
    assert made.compiled == [b"one", b"two"] and made.imported == [b"compiled one"] * 2
    runtime.open(b"one")
    runtime.open(b"one", provider_options={"A": "1"}, kept=kept)  # other settings
    assert made.compiled[2:] == [b"one", b"one"]
    runtime.open(b"x" * 31, kept=kept)
    runtime.open(b"x" * 31, kept=kept)  # more than a quarter of the memory
    assert made.compiled[4:] == [b"x" * 31] * 2
    for key in kept:
        kept[key] = b"torn"
    runtime.open(b"one", kept=kept)
    assert made.compiled[6:] == [b"one"]


class TestOpenVino(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        pytest.importorskip("openvino")
        return OpenVino()

    def test_it_computes_what_onnxruntime_does(self, runtime, model, images):
        from deploy_nas.device.runtime import first_output
        from deploy_nas.device.session import open_session

        expected = first_output(open_session(model), images)
        for threads in (1, min(2, len(openvino.machine.cores()))):
            opened = runtime.open(model, threads=threads, worker_cores=[0] * (threads - 1))
            found = first_output(opened, images)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
            with pytest.raises(RecordError, match="openvino cannot run it"):
                opened.run({opened.inputs[0].name: images[:, :, :5]})

    def test_what_is_opened_again_is_imported_and_computes_the_same(self, runtime, model, images):
        from deploy_nas.device.runtime import first_output

        kept = {}
        first = first_output(runtime.open(model, kept=kept), images)
        assert len(kept) == 1
        runtime.open(model, kept=kept, provider_options={"PERFORMANCE_HINT": "THROUGHPUT"})
        assert len(kept) == 2  # settings are part of what a model is compiled from
        again = first_output(runtime.open(model, kept=kept), images)
        np.testing.assert_array_equal(again, first)

    def test_options_that_it_does_not_know_are_named(self, runtime, model):
        with pytest.raises(ProviderError, match=r"openvino:CPU: cannot run this model .*ABACUS"):
            runtime.open(model, provider_options={"ABACUS": "1"})


_IMPORTED = """
import sys
opened = []
sys.addaudithook(lambda event, given: opened.append(event) if event.startswith("socket.") else None)
from deploy_nas.device.openvino import OPEN_VINO
OPEN_VINO.providers()
print(sorted(opened), "onnxruntime" in sys.modules, "openvino_telemetry" in sys.modules)
"""


def test_it_sends_nothing_and_needs_no_onnxruntime(tmp_path, repository):
    """Importing openvino alone would write an id into the home folder and send an event."""
    pytest.importorskip("openvino")
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(repository)}
    done = subprocess.run([sys.executable, "-c", _IMPORTED], capture_output=True, text=True, env=environment)
    assert done.stdout == "[] False False\n", done.stderr
    assert not list(tmp_path.iterdir())
