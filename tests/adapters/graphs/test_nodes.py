"""Graphs under construction, by hand."""

import numpy as np
import pytest

from deploy_nas.adapters.graphs.nodes import Initializer, Node, Nodes, convolution, pooling
from deploy_nas.core.layers import Conv, Pool
from deploy_nas.core.tensors import TensorSpec


def test_nodes_are_in_order_and_the_last_is_the_output():
    made = Nodes()
    x = made.node("Relu", "a", ["image"])
    assert made.node("Clip", "b", [x, "low"], axis=1) == "b"
    first = Node(kind="Relu", name="a", inputs=("image",), output="a")
    last = Node(kind="Clip", name="b", inputs=("a", "low"), output="logits", attributes={"axis": 1})
    assert made.ending_in("logits") == [first, last]
    assert made.nodes[-1].output == "b"


def test_constants_and_tensors_become_initializers():
    made = Nodes()
    made.constant("low", "float32", [0.0])
    made.constant("scales", "float32", [1.0, 2.0], (2,))
    spec = TensorSpec(shape=(1, 2), type="int8")
    assert made.tensor("held", spec, np.array([3, -4], np.int8)) == "held"
    assert made.tensor("left out", spec, None) == "left out"
    assert made.initializers == [
        Initializer(name="low", type="float32", shape=(), values=(0.0,)),
        Initializer(name="scales", type="float32", shape=(2,), values=(1.0, 2.0)),
        Initializer(name="held", type="int8", shape=(1, 2), values=b"\x03\xfc"),
        Initializer(name="left out", type="int8", shape=(1, 2), values=None),
    ]
    assert made.valueless == {"left out": spec}


def test_a_graph_can_be_continued():
    before = Nodes()
    before.node("Relu", "a", ["image"])
    before.tensor("w", TensorSpec(shape=(1,), type="float32"), None)
    after = Nodes(before)
    after.node("Relu", "b", ["a"])
    assert [node.name for node in after.nodes] == ["a", "b"] and list(after.valueless) == ["w"]


def test_a_convolution_keeps_the_size_at_stride_one():
    op = Conv(role="c", in_channels=6, out_channels=6, kernel=5, stride=2, depthwise=True)
    sides = {"kernel_shape": [5, 5], "strides": [2, 2], "pads": [2, 2, 2, 2]}
    assert convolution(op, 24) == {**sides, "group": 6}


@pytest.mark.parametrize("in_size", range(2, 12))
def test_average_pooling_pads_as_ceil_mode_does(in_size):
    """Padding past the end is not counted; the output is as large as the operator says."""
    op = Pool(role="p", kind="average", kernel=2, stride=2, channels=4)
    kind, attributes = pooling(op, in_size)
    assert kind == "AveragePool" and attributes["count_include_pad"] == 0
    top, left, bottom, right = attributes["pads"]
    assert (top, left) == (0, 0) and bottom == right == in_size % 2
    assert (in_size + bottom - 2) // 2 + 1 == op.out_size(in_size)


def test_max_pooling_pads_both_ends():
    op = Pool(role="p", kind="max", kernel=3, stride=2, channels=4)
    sides = {"kernel_shape": [3, 3], "strides": [2, 2]}
    assert pooling(op, 8) == ("MaxPool", {"pads": [1, 1, 1, 1], **sides})
