"""Graphs: valid, repeatable, and fused as a whole as they are layer by layer."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from deploy_nas.adapters import graphs
from deploy_nas.core.errors import RecordError
from deploy_nas.core.spaces import get_space, space_ids

SMALL = get_space("ofa-mbv3-cifar10")


def network(space=SMALL, seed=0, image_size=None):
    architecture = space.sample(np.random.default_rng(seed))
    layers = space.layers(architecture | ({"image_size": image_size} if image_size else {}))
    return layers, graphs.random_weights(layers, np.random.default_rng(seed))


def fused(model, path):
    """Operators of the graph as onnxruntime runs it, without the layout changes between them."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    counted = Counter()
    for node in onnx.load(path).graph.node:
        if "Reorder" not in node.op_type:
            activation = next((a.s.decode() for a in node.attribute if a.name == "activation"), "")
            counted[(node.domain, node.op_type, activation, len(node.input))] += 1
    return counted


@pytest.mark.parametrize("id", space_ids())
def test_networks_and_single_layers_are_valid(id):
    layers, weights = network(get_space(id))
    graphs.check_model(graphs.build_model(layers, weights))
    graphs.check_model(graphs.build_model(layers, weights, batch=None))
    for named in layers[:4]:
        graphs.check_model(graphs.build_model([named], weights, batch=3))


def test_the_same_input_gives_the_same_bytes():
    models = []
    for seed in (0, 0, 1):
        layers, weights = network(seed=seed)
        models.append(graphs.build_model(layers, weights, metadata={"b": 1, "a": "ü"}))
    assert models[0] == models[1]
    assert models[0] != models[2]


def test_names_can_be_read():
    layers, weights = network()
    graph = onnx.load_from_string(graphs.build_model(layers, weights)).graph
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert {"stem/conv", "stage2.block1/se", "stage1.block2/add", "tail/classifier"} <= set(names)
    assert [i.name for i in graph.initializer] == list(graphs.weight_shapes(layers))
    assert {node.op_type for node in graph.node} == {
        *("Conv", "HardSwish", "HardSigmoid", "Relu", "Mul", "Add", "GlobalAveragePool", "Flatten", "Gemm")
    }


def test_metadata_round_trip():
    layers, weights = network()
    metadata = {"architecture": {"ks": [3]}, "profile": None, "labels": ["größe"], "opset": graphs.OPSET}
    data = graphs.build_model(layers, weights, metadata=metadata)
    assert graphs.read_metadata(data, "x.onnx") == metadata
    assert onnx.load_from_string(data).opset_import[0].version == graphs.OPSET


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08"])
def test_what_is_no_model_of_ours_is_refused(data):
    if data:
        with pytest.raises(RecordError, match=r"x\.onnx"):
            graphs.read_metadata(data, "x.onnx")
    with pytest.raises(RecordError):
        graphs.check_model(data)


def test_a_weight_of_the_wrong_shape_is_refused():
    layers, weights = network()
    with pytest.raises(RecordError, match="stem/conv.weight"):
        graphs.build_model(layers, weights | {"stem/conv.weight": np.zeros((8, 3, 5, 5), np.float32)})


@pytest.mark.parametrize("batch", [1, 5, None])
def test_batches(batch):
    layers, weights = network(image_size=24)
    session = onnxruntime.InferenceSession(
        graphs.build_model(layers, weights, batch=batch), providers=["CPUExecutionProvider"]
    )
    x = np.random.default_rng(0).standard_normal((batch or 3, 3, 24, 24)).astype(np.float32)
    assert session.run([graphs.OUTPUT], {graphs.INPUT: x})[0].shape == (len(x), 10)


def test_a_layer_alone_is_fused_as_in_its_network(tmp_path):
    """What is timed layer by layer is the work that the whole network does."""
    layers, weights = network(get_space("ofa-mbv3-w1.0"), image_size=128)
    whole = fused(graphs.build_model(layers, weights), tmp_path / "whole.onnx")
    parts = Counter()
    for number, named in enumerate(layers):
        parts += fused(graphs.build_model([named], weights), tmp_path / f"{number}.onnx")
    assert whole == parts
