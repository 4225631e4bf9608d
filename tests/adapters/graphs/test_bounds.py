"""Models that may run without end, or take all memory, are refused before a runtime opens them."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploy_nas.adapters import graphs
from deploy_nas.core.errors import RecordError
from deploy_nas.core.precision import Scheme
from deploy_nas.core.spaces import known_spaces

node = helper.make_node
FLOAT = TensorProto.FLOAT
IMAGES = [1, 3, 8, 8]


def model(
    nodes: list[Any],
    *,
    tensors: tuple[Any, ...] = (),
    shape: Any = IMAGES,
    output: Any = (1, 2),
    kind: int = FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("input", kind, shape)],
        [helper.make_tensor_value_info("logits", FLOAT, (1, 2))],
        list(tensors),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def plain() -> list[Any]:
    return [
        node("GlobalAveragePool", ["input"], ["pool"]),
        node("Flatten", ["pool"], ["flat"]),
        node("Gemm", ["flat", "w"], ["logits"]),
    ]


W = numpy_helper.from_array(np.ones((3, 2), np.float32), "w")


def refused(given: onnx.ModelProto, message: str) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        graphs.check_bounded(given.SerializeToString(), "m.onnx")
    assert str(caught.value).startswith("m.onnx: ") and len(str(caught.value)) < 400


def test_models_of_every_space_are_bounded_in_both_precisions() -> None:
    for space in known_spaces():
        layers = space.layers(space.largest(max(space.image_sizes)))
        weights = {name: np.zeros(shape, np.float32) for name, shape in graphs.weight_shapes(layers).items()}
        graphs.check_bounded(graphs.build_model(layers, weights, batch=None), space.id)
    small = space.layers(space.smallest(min(space.image_sizes)))
    weights = {name: np.ones(shape, np.float32) for name, shape in graphs.weight_shapes(small).items()}
    ranges = dict.fromkeys(graphs.range_tensors(small), (-1.0, 1.0))
    for batch in (1, 4, None):
        made, _ = graphs.build_int8(small, weights, ranges, Scheme(activations="uint8"), batch=batch)
        graphs.check_bounded(made, "int8")
        graphs.check_bounded(graphs.with_shapes(made), "int8 with shapes")


def test_a_plain_model_is_bounded() -> None:
    graphs.check_bounded(model(plain(), tensors=(W,)).SerializeToString(), "m.onnx")


def endless() -> Any:
    body = helper.make_graph(
        [node("Identity", ["cond"], ["again"]), node("Identity", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("n", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", FLOAT, None),
        ],
    )
    return node("Loop", ["", "", "input"], ["looped"], body=body)


def shaped(*lengths: int) -> Any:
    return numpy_helper.from_array(np.array(lengths, np.int64), "shape")


def claiming(*dims: int) -> Any:
    return TensorProto(name="w", data_type=FLOAT, dims=dims, raw_data=b"\0" * 16)


POOLED = plain()[1:]


def scales(side: float) -> Any:
    return numpy_helper.from_array(np.array([1, 1, side, side], np.float32), "scales")


HOSTILE = {
    "endless": ([endless(), *plain()], (W,), {}, "node of type 'Loop'"),
    "foreign": ([node("Foo", ["input"], ["logits"], domain="x")], (), {}, "node of type 'Foo' of 'x'"),
    "generated": (
        [node("ConstantOfShape", ["shape"], ["logits"])],
        (shaped(10**12),),
        {},
        "'ConstantOfShape'",
    ),
    "claimed": (plain(), (claiming(10**6, 10**6),), {}, "values of the tensor 'w'"),
    "negative": (plain(), (claiming(-1, -4),), {}, "values of the tensor 'w'"),
    "constant": ([node("Constant", [], ["c"], value=claiming(10**12)), *plain()], (W,), {}, "the tensor 'w'"),
    "enlarged": (
        [
            node("Resize", ["input", "", "scales"], ["big"]),
            node("GlobalAveragePool", ["big"], ["pool"]),
            *POOLED,
        ],
        (W, scales(1e5)),
        {},
        "'Resize' that makes 1.92e",
    ),
    "slow": (
        [
            node("Resize", ["input", "", "scales"], ["big"]),
            node("Conv", ["big", "wide"], ["sums"]),
            node("GlobalAveragePool", ["sums"], ["pool"]),
            *POOLED,
        ],
        (W, scales(1024.0), numpy_helper.from_array(np.ones((3, 3, 21, 21), np.float32), "wide")),
        {},
        r"asks for 2\.6\d+e\+11 multiplications",
    ),
    "many large": (
        [
            node("Resize", ["input", "", "scales"], ["x0"]),
            *(node("Relu", [f"x{n}"], [f"x{n + 1}"]) for n in range(24)),
            node("GlobalAveragePool", ["x24"], ["pool"]),
            *POOLED,
        ],
        (W, scales(1024.0)),
        {},
        "far above any network of a space",
    ),
    "no images": (plain(), (W,), {"shape": [0, 3, 8, 8]}, "takes 0 images at once"),
    "many images": (plain(), (W,), {"shape": [10**9, 3, 8, 8]}, "takes 1000000000 images at once"),
    "no answer": (plain()[:2], (W,), {}, "gives 0 dimensions"),
    "a picture": ([*plain()[:1], node("Identity", ["pool"], ["logits"])], (), {}, "gives 4 dimensions"),
    "unknown type": (plain(), (W,), {"kind": 99}, "do not fit|cannot be known|of type"),
    "no stride": (
        [node("Conv", ["input", "w"], ["logits"], strides=[0, 0])],
        (W,),
        {},
        r"'strides' of \[0, 0\]",
    ),
    "no group": ([node("Conv", ["input", "w"], ["logits"], group=0)], (W,), {}, "'group' of"),
    "padding": ([node("MaxPool", ["input"], ["logits"], pads=[2**40] * 4)], (), {}, "'pads' of"),
    "many nodes": ([node("Relu", ["input"], ["logits"])] * 20_001, (), {}, "20001 nodes"),
    "no nodes": ([], (), {}, "0 nodes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_model_is_refused(name: str) -> None:
    nodes, tensors, how, message = HOSTILE[name]
    refused(model(nodes, tensors=tensors, **how), message)


def test_other_parts_of_a_file_are_refused() -> None:
    none = model(plain(), tensors=(W,))
    del none.graph.output[:]
    refused(none, "has 0 outputs")
    outside = model(plain(), tensors=(W,))
    outside.graph.initializer[0].ClearField("raw_data")
    outside.graph.initializer[0].data_location = TensorProto.EXTERNAL
    outside.graph.initializer[0].external_data.add(key="location", value="../../etc/passwd")
    refused(outside, "in another file")
    odd = model(plain(), tensors=(W,))
    odd.graph.initializer[0].data_type = 77
    refused(odd, "unknown element type 77")
    own = model(plain(), tensors=(W,))
    own.functions.add(name="f", domain="x")
    refused(own, "functions")
    with pytest.raises(RecordError, match="is not an ONNX model"):
        graphs.check_bounded(b"\x08", "m.onnx")


def test_mutated_models_are_read_or_refused(network: Any) -> None:
    """Bytes changed at random end in an error of ours or in nothing, soon."""
    layers, weights = network(image_size=20)
    data = graphs.build_model(layers, weights, metadata={"a": 1})
    rng = np.random.default_rng(0)
    places = np.flatnonzero(np.frombuffer(data, np.uint8))[-4000:]  # past the weights: nodes come first
    for _ in range(150):
        mutated = bytearray(data)
        for at in rng.choice(np.concatenate([places, np.arange(3000)]), rng.integers(1, 4)):
            mutated[at] = rng.integers(256)
        for read in (graphs.inspect_model, graphs.check_bounded):
            with contextlib.suppress(RecordError):
                read(bytes(mutated), "m.onnx")
