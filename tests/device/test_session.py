"""ONNX Runtime's sessions, beyond the contract of runtimes (test_runtime.py)."""

import numpy as np
import pytest

from deploy_nas.adapters.graphs import build_model, weight_tensors
from deploy_nas.core.errors import OptionError, ProviderError, RecordError
from deploy_nas.core.spaces import get_space
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.device.session import ONNX_RUNTIME, open_session, random_initializers


def test_random_initializers_are_finite_and_repeat():
    shapes = {"a.weight": TensorSpec(shape=(8, 3, 3, 3)), "a.bias": TensorSpec(shape=(8,))}
    first = random_initializers(shapes, np.random.default_rng(1))
    again = random_initializers(shapes, np.random.default_rng(1))
    assert first["a.weight"].shape == (8, 3, 3, 3) and first["a.weight"].dtype == np.float32
    assert np.array_equal(first["a.weight"], again["a.weight"])
    assert not first["a.bias"].any()


def test_provider_names():
    assert ONNX_RUNTIME.resolve("cpu") == "CPUExecutionProvider"
    with pytest.raises(ProviderError, match=r"provider: .*available are .*CPUExecutionProvider"):
        ONNX_RUNTIME.resolve("tpu")


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
