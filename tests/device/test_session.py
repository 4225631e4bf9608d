"""ONNX Runtime's sessions, beyond the contract of runtimes (test_runtime.py)."""

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

from deploy_nas import device
from deploy_nas.adapters.graphs import build_model, weight_tensors
from deploy_nas.core.errors import OptionError, ProviderError, RecordError
from deploy_nas.core.spaces import get_space
from deploy_nas.device.initializers import random_initializers
from deploy_nas.device.session import ONNX_RUNTIME, open_session


def test_provider_names():
    assert ONNX_RUNTIME.resolve("cpu") == "CPUExecutionProvider"
    with pytest.raises(ProviderError, match=r"provider: .*available are .*CPUExecutionProvider"):
        ONNX_RUNTIME.resolve("tpu")


def test_a_provider_that_is_not_there_is_told_from_one_that_leaves_nodes_to_the_cpu(model_data):
    with pytest.raises(ProviderError, match=r"no execution provider 'openvino'.*wheel onnxruntime-openvino"):
        ONNX_RUNTIME.resolve("openvino")
    with pytest.raises(ProviderError, match=r"no execution provider 'xnnpack' .*--use_xnnpack"):
        ONNX_RUNTIME.resolve("xnnpack")
    if "AzureExecutionProvider" in ONNX_RUNTIME.providers():  # it is there, and takes none of these nodes
        with pytest.raises(ProviderError, match=r"would leave .* of this model's (\d+ )?nodes to the CPU"):
            open_session(model_data(), provider="azure")


def test_faults_name_the_parameter():
    with pytest.raises(RecordError, match="cannot load"):
        open_session(b"not a model")
    with pytest.raises(OptionError, match="threads: must be at least 1"):
        open_session(b"", threads=0)


def test_a_batch_of_any_size_and_graphs_as_written():
    space = get_space("ofa-mbv3-cifar10")
    layers = space.layers(space.smallest(24))
    weights = random_initializers(weight_tensors(layers), np.random.default_rng(0))
    data = build_model(layers, weights, batch=None)
    fused, written = open_session(data), open_session(data, fused=False)
    assert fused.inputs[0].shape == (None, 3, 24, 24)
    x = np.random.default_rng(1).standard_normal((3, 3, 24, 24), dtype=np.float32)
    (a,), (b,) = fused.run({"image": x}), written.run({"image": x})
    assert a.shape == (3, 10)
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


_TELEMETRY = """
import sys

class Finder:
    seen = None

    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            import os
            Finder.seen = os.environ.get("ORT_DISABLE_TELEMETRY")

sys.meta_path.insert(0, Finder())
from deploy_nas.device.session import open_session
open_session(open(sys.argv[1], "rb").read())
print(Finder.seen)
"""


def test_a_model_that_loads_and_cannot_be_run_is_one_error(model_data):
    opened = open_session(model_data())
    wrong = {opened.inputs[0].name: np.zeros((1, 3, 5, 7), np.float32)}
    for call in (opened.run, opened.bind):
        with pytest.raises(RecordError, match=r"^model: onnxruntime cannot run it \([^\n]+\)$"):
            call(wrong)


def test_no_telemetry_is_kept_or_sent(tmp_path, model_data):
    """By the package and by a kit: nothing is written to the user's cache, where its database would be."""
    from deploy_nas.adapters.kits import make_check_kit
    from deploy_nas.device.measure import MeasureSettings

    home, model, kit = tmp_path / "home", tmp_path / "m.onnx", tmp_path / "kit.pyz"
    home.mkdir()
    model.write_bytes(model_data())
    kit.write_bytes(make_check_kit({"m": model_data()}, MeasureSettings(rounds=1, burst_ms=1.0, pause_s=0.0)))
    unset = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment = {**unset, "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    for command, said in (
        ([sys.executable, "-c", _TELEMETRY, str(model)], "1"),
        ([sys.executable, str(kit), "-o", str(tmp_path / "result")], ""),
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == said and not list(home.rglob("*"))


def test_telemetry_that_the_user_wants_is_left_on(monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    importlib.reload(device)
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
