"""Models that are shipped, with weights, and models that are timed, without: the same graph in both cases."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from deploy_nas.adapters import graphs
from deploy_nas.core.errors import RecordError
from deploy_nas.core.precision import Scheme
from deploy_nas.device.initializers import random_initializers
from deploy_nas.device.session import open_session


def test_a_weight_of_the_wrong_shape_is_refused(network):
    layers, weights = network()
    with pytest.raises(RecordError, match=r"stem/conv\.weight"):
        graphs.build_model(layers, weights | {"stem/conv.weight": np.zeros((8, 3, 5, 5), np.float32)})


@pytest.mark.parametrize("batch", [1, 5, None])
def test_batches(batch, network):
    layers, weights = network(image_size=24)
    session = onnxruntime.InferenceSession(
        graphs.build_model(layers, weights, batch=batch), providers=["CPUExecutionProvider"]
    )
    x = np.random.default_rng(0).standard_normal((batch or 3, 3, 24, 24)).astype(np.float32)
    assert session.run([graphs.OUTPUT], {graphs.INPUT: x})[0].shape == (len(x), 10)


def test_a_model_without_values_is_small_and_computes_the_same(network):
    layers, weights = network(image_size=24)
    named = graphs.build_model(layers, None)
    assert len(named) < 100_000
    x = {graphs.INPUT: np.random.default_rng(0).standard_normal((1, 3, 24, 24)).astype(np.float32)}
    sessions = [open_session(graphs.build_model(layers, weights)), open_session(named, initializers=weights)]
    np.testing.assert_array_equal(*(session.run(x)[0] for session in sessions))


def optimized(model, path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(path), 3
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return onnx.load(path).graph


def test_what_is_timed_is_what_is_shipped(tmp_path, network):
    """A graph without weights is fused in the same way as the exported one."""
    layers, weights = network()
    shipped, _ = graphs.build_int8(
        layers, weights, dict.fromkeys(graphs.range_tensors(layers), (-4.0, 4.0)), Scheme()
    )
    timed, tensors = graphs.timed_graph(layers, "int8")
    values = random_initializers(tensors, np.random.default_rng(0))
    held = onnx.load_from_string(timed)
    for tensor in held.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(onnx.numpy_helper.from_array(values[tensor.name], tensor.name))
    kinds = [
        Counter(node.op_type for node in optimized(model, tmp_path / "o.onnx").node)
        for model in (shipped, held.SerializeToString())
    ]
    assert kinds[0] == kinds[1]


def test_int8_graphs_without_values_are_small_and_run(network):
    layers, _ = network()
    model, tensors = graphs.timed_graph(layers, "int8")
    assert len(model) < 250_000
    values = random_initializers(tensors, np.random.default_rng(0))
    assert {v.dtype.name for v in values.values()} == {"float32", "int8", "int32"}
    session = open_session(model, initializers=values)
    x = np.random.default_rng(0).standard_normal(session.inputs[0].single, dtype=np.float32)
    assert np.isfinite(session.run({"image": x})[0]).all()


def test_tensors_without_values_are_listed_with_their_types(network):
    layers, _ = network()
    data, tensors = graphs.timed_graph(layers, "fp32")
    assert (data, tensors) == (graphs.build_model(layers, None), graphs.weight_tensors(layers))
    for precision in ("fp32", "int8"):
        data, tensors = graphs.timed_graph(layers, precision)
        held = {t.name: t for t in onnx.load_from_string(data).graph.initializer if t.external_data}
        assert held.keys() == tensors.keys()
        for name, spec in tensors.items():
            found = onnx.helper.tensor_dtype_to_np_dtype(held[name].data_type).name
            assert (tuple(held[name].dims), found) == (spec.shape, spec.type)
