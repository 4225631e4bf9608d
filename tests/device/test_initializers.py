"""Values put into a graph that names its weights without them."""

import numpy as np
import onnx
import pytest

from deploy_nas.adapters.graphs import build_model, weight_tensors
from deploy_nas.core.errors import RecordError
from deploy_nas.core.spaces import embedded_space
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.device.initializers import random_initializers, with_values


def test_random_initializers_are_finite_and_repeat():
    shapes = {"a.weight": TensorSpec(shape=(8, 3, 3, 3)), "a.bias": TensorSpec(shape=(8,))}
    first = random_initializers(shapes, np.random.default_rng(1))
    again = random_initializers(shapes, np.random.default_rng(1))
    assert first["a.weight"].shape == (8, 3, 3, 3) and first["a.weight"].dtype == np.float32
    assert np.array_equal(first["a.weight"], again["a.weight"])
    assert not first["a.bias"].any()


def test_a_model_has_the_values_and_is_else_as_it_was():
    space = embedded_space()
    layers = space.layers(space.smallest(24))
    values = random_initializers(weight_tensors(layers), np.random.default_rng(0))
    made = onnx.load_from_string(with_values(build_model(layers, None), values))
    onnx.checker.check_model(made)
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    assert set(values) <= set(held) and all(np.array_equal(held[name], v) for name, v in values.items())
    given = onnx.load_from_string(build_model(layers, None))
    assert made.graph.node == given.graph.node and made.graph.input == given.graph.input


def test_without_values_nothing_is_read_and_damaged_models_are_refused():
    assert with_values(b"anything", {}) == b"anything"
    with pytest.raises(RecordError, match="model: is not an ONNX file"):
        with_values(b"not a model", {"w": np.zeros(1, np.float32)})
