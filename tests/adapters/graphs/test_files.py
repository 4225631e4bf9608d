"""Model files: what is written can be read back, and changed without changing what it computes."""

import sys

import numpy as np
import onnx
import pytest

from deploy_nas.adapters import graphs
from deploy_nas.core.errors import RecordError
from deploy_nas.device.session import open_session


def test_metadata_round_trip(network):
    layers, weights = network()
    metadata = {"architecture": {"ks": [3]}, "profile": None, "labels": ["größe"], "opset": graphs.OPSET}
    data = graphs.build_model(layers, weights, metadata=metadata)
    assert graphs.inspect_model(data, "x.onnx").metadata == metadata
    assert onnx.load_from_string(data).opset_import[0].version == graphs.OPSET


def test_metadata_can_be_set_and_the_digest_stays(network):
    layers, weights = network()
    data = graphs.build_model(layers, weights, metadata={"a": 1, "b": 2})
    changed = graphs.with_metadata(data, {"b": 3, "c": None})
    assert graphs.inspect_model(changed, "x.onnx").metadata == {"a": 1, "b": 3, "c": None}
    assert (
        changed != data
        and graphs.inspect_model(changed, "x").graph_sha256 == graphs.inspect_model(data, "x").graph_sha256
    )
    other = graphs.build_model(layers, network(seed=1)[1] | weights, batch=None)
    assert graphs.inspect_model(other, "x").graph_sha256 != graphs.inspect_model(data, "x").graph_sha256


def test_a_missing_package_is_no_fault_of_the_file(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    for read in (graphs.inspect_model, lambda data, subject: graphs.check_model(data)):
        with pytest.raises(ImportError, match="onnx"):
            read(b"", "x.onnx")


def test_weights_can_be_read_back(network):
    layers, weights = network()
    data = graphs.build_model(layers, weights)
    held = graphs.read_weights(data, layers, "x.onnx")
    assert list(held) == list(weights)
    assert all(np.array_equal(held[name], weights[name]) for name in held)
    with pytest.raises(RecordError, match=r"x\.onnx: has no weight"):
        graphs.read_weights(data, network(seed=1)[0], "x.onnx")


@pytest.mark.parametrize("batch", [1, 5, None])
def test_one_reading_gives_all_facts(network, batch):
    layers, weights = network(image_size=24)
    data = graphs.build_model(layers, weights, metadata={"a": [1]}, batch=batch)
    found = graphs.inspect_model(data, "x.onnx")
    assert (found.input_type, found.input_shape) == ("float32", (batch, 3, 24, 24))
    assert found.metadata == {"a": [1]}
    same = graphs.inspect_model(graphs.with_metadata(data, {"a": [2]}), "x.onnx")
    assert found.graph_sha256 == same.graph_sha256


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([], ("anything", ())),
        ([[1, 3]], ("float32", (1, 3))),
        ([[1, 3, 8, 8]] * 2, ("anything", ())),
    ],
)
def test_other_inputs_are_described_too(shapes, expected):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(f"x{i}", kind, shape) for i, shape in enumerate(shapes)]
    graph = helper.make_graph([], "other", inputs, [])
    found = graphs.inspect_model(helper.make_model(graph).SerializeToString(), "x.onnx")
    assert (found.input_type, found.input_shape) == expected


def test_an_input_type_may_be_missing():
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.UNDEFINED, [1, 3, 8, "side"])
    model = onnx.helper.make_model(onnx.helper.make_graph([], "other", [value], []))
    found = graphs.inspect_model(model.SerializeToString(), "x.onnx")
    assert (found.input_type, found.input_shape) == ("anything", (1, 3, 8, None))


def test_more_outputs_come_after_the_logits(network):
    layers, weights = network(image_size=24)
    data = graphs.with_outputs(graphs.build_model(layers, weights), ["stem/conv"])
    session = open_session(data)
    assert [output.name for output in session.outputs] == [graphs.OUTPUT, "stem/conv"]


def test_shapes_are_written_down(network):
    layers, weights = network()
    data = graphs.build_model(layers, weights)
    shown = onnx.load_from_string(graphs.with_shapes(data)).graph
    assert not onnx.load_from_string(data).graph.value_info
    assert {info.name for info in shown.value_info} >= {"stem/conv", "tail/pool"}


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08"])
def test_what_is_no_model_of_ours_is_refused(data):
    if data:
        with pytest.raises(RecordError, match=r"x\.onnx"):
            graphs.inspect_model(data, "x.onnx")
    with pytest.raises(RecordError):
        graphs.check_model(data)
