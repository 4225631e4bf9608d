"""Timed graphs: weights only named, otherwise what is shipped, and of a form that profiles depend on."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from deploy_nas.adapters import graphs
from deploy_nas.core.precision import Scheme
from deploy_nas.core.spaces import get_space
from deploy_nas.device.session import open_session, random_initializers

# Of the smallest network of each space in fp32 and INT8. With another form, profiles are of other graphs:
# these change only together with the profiles that ship.
FORMS = {
    "ofa-mbv3-cifar10": ("5f2edb29d7a8", "7dc93070bb20"),
    "ofa-mbv3-w1.0": ("8677cf8065e1", "b2364e569392"),
    "ofa-mbv3-w1.2": ("00b74137502f", "a3ad6f532de3"),
    "ofa-proxyless-w1.3": ("a752cb19a820", "e2534a4d5862"),
    "ofa-resnet50": ("2a5772464441", "3a3244101c9b"),
    "mcunet-vww": ("fc424c3ae8c3", "c799c9f263c0"),
    "efficientnet-lite0": ("094ce97dd7eb", "6e28faf1cf4c"),
    "efficientnet-lite1": ("094ce97dd7eb", "6e28faf1cf4c"),
    "efficientnet-lite2": ("73db3b2e6b13", "52ec9d5a5539"),
}


def optimized(model, path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(path), 3
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return onnx.load(path).graph


@pytest.mark.parametrize("id", FORMS)
def test_the_form_of_graphs_stays(id):
    space = get_space(id)
    layers = space.layers(space.smallest())
    assert tuple(graphs.graph_form(layers, precision) for precision in ("fp32", "int8")) == FORMS[id]


def test_what_is_timed_is_what_is_shipped(tmp_path, network):
    """A graph that only names its weights is fused as the exported one is."""
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


def test_named_only_graphs_run_and_are_small(network):
    layers, _ = network()
    model, tensors = graphs.timed_graph(layers, "int8")
    assert len(model) < 250_000
    values = random_initializers(tensors, np.random.default_rng(0))
    assert {v.dtype.name for v in values.values()} == {"float32", "int8", "int32"}
    session = open_session(model, initializers=values)
    x = np.random.default_rng(0).standard_normal(session.get_inputs()[0].shape, dtype=np.float32)
    assert np.isfinite(session.run(None, {"image": x})[0]).all()


def test_tensors_that_are_only_named_have_their_types(network):
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
