"""Models that run for a bounded time in bounded memory: looked at before a runtime opens them.

A file may say of itself that deploy-nas wrote it, and hold an endless loop or a constant of 10^12 numbers. A
runtime that has begun such a model cannot be interrupted. So only plain layers are accepted, whose tensors
have known shapes: then time and memory follow from the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from deploy_nas.core.errors import RecordError
from deploy_nas.core.reader import shown

_WRITTEN = (
    "Add AveragePool Clip Conv DequantizeLinear Flatten Gemm GlobalAveragePool HardSigmoid HardSwish MaxPool "
    "Mul QuantizeLinear Relu Resize"
)
# What programs that simplify or fuse a model may make of these.
_ALIKE = (
    "BatchNormalization Cast Concat Constant Div Dropout GlobalMaxPool Identity LeakyRelu MatMul Max Min Pad "
    "PRelu QLinearConv QLinearMatMul ReduceMean Reshape Sigmoid Softmax Squeeze Sub Tanh Transpose Unsqueeze"
)
_PLAIN = frozenset([*_WRITTEN.split(), *_ALIKE.split()])

# Bytes of the element types of onnx.proto that such models have.
_FLOAT = 1
_ITEM_BYTES = {_FLOAT: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 16: 2}
_MOST_NODES = 20_000
_MOST_BATCH = 4096
_MOST_ELEMENTS = 1 << 28
_MOST_ELEMENTS_IN_ALL = 1 << 32
_MOST_MACS = 100e9  # per image: 20 times those of the largest network of any space
_SMALL = 4096
_LARGEST_ATTRIBUTE = 1 << 16
_SIZES = frozenset({"strides", "dilations", "kernel_shape", "group"})
_WEIGHT_INPUT = {"Conv": 1, "QLinearConv": 3, "Gemm": 1, "MatMul": 1, "QLinearMatMul": 3}

Shapes = dict[str, tuple[int, ...]]


def check_bounded(data: bytes, subject: str) -> None:
    """Raise :class:`RecordError` unless a serialised model is of plain layers of known, bounded shapes.

    Its only output must be float32 ``[batch, classes]``.
    """
    import onnx

    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf's own types
        raise RecordError("is not an ONNX model, or is cut short", subject=subject) from error
    try:
        _check_parts(model)
        _check_work(model.graph, _shapes(model))
    except _UnboundedError as error:
        raise RecordError(
            str(error), subject=subject, hint="it was changed after it was exported; export it again"
        ) from error


class _UnboundedError(Exception):
    """A part of a model that is unknown, or without a bound."""


def _check_parts(model: Any) -> None:
    """The parts that can be judged one by one."""
    graph = model.graph
    if len(model.functions) or len(graph.sparse_initializer):
        raise _UnboundedError("holds functions or sparse tensors, which deploy-nas does not write")
    if not graph.node or len(graph.node) > _MOST_NODES:
        raise _UnboundedError(f"has {len(graph.node)} nodes, not 1 to {_MOST_NODES}")
    if len(graph.output) != 1:
        raise _UnboundedError(f"has {len(graph.output)} outputs, not 1")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in _PLAIN:
            kind = shown(node.op_type) + (f" of {shown(node.domain)}" if node.domain else "")
            raise _UnboundedError(f"has a node of type {kind}, which deploy-nas does not run")
        for attribute in node.attribute:
            _check_attribute(attribute)
    for tensor in graph.initializer:
        _check_tensor(tensor)


def _check_attribute(attribute: Any) -> None:
    if attribute.HasField("g") or len(attribute.graphs) or attribute.HasField("sparse_tensor"):
        raise _UnboundedError("has a node with a graph or a sparse tensor inside")
    if attribute.HasField("t"):
        _check_tensor(attribute.t)
    values = [*attribute.ints, *([attribute.i] if attribute.HasField("i") else [])]
    least = 1 if attribute.name in _SIZES else -_LARGEST_ATTRIBUTE
    if attribute.name == "pads":
        least = 0
    if not all(least <= value <= _LARGEST_ATTRIBUTE for value in values):
        raise _UnboundedError(f"has a node with {shown(attribute.name)} of {shown(values)}")


def _check_tensor(tensor: Any) -> None:
    """A tensor's values must be in the file, as many as its shape says."""
    name, count = shown(tensor.name), _product(tensor.dims)
    if tensor.data_location == tensor.EXTERNAL or len(tensor.external_data):
        raise _UnboundedError(f"keeps the values of {name} in another file")
    item = _ITEM_BYTES.get(tensor.data_type)
    if item is None:
        raise _UnboundedError(f"has the tensor {name} of the unknown element type {tensor.data_type}")
    held = (
        len(tensor.raw_data) / item
        if tensor.raw_data
        else sum(map(len, (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)))
    )
    if min(tensor.dims, default=0) < 0 or held != count:
        raise _UnboundedError(f"has {held:g} values of the tensor {name}, whose shape asks for {count:g}")


def _shapes(model: Any) -> Shapes:
    """The shape of every tensor for one image, or one batch if its length is fixed."""
    import onnx

    graph, shell = model.graph, onnx.ModelProto(ir_version=model.ir_version)
    shell.opset_import.extend(model.opset_import)
    inner = shell.graph
    inner.name = "shapes"
    inner.node.extend(graph.node)
    known: Shapes = {}
    for entry in graph.input:
        one = inner.input.add()
        one.CopyFrom(entry)
        for number, dim in enumerate(one.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") and number == 0:
                dim.dim_value = 1
        known[entry.name] = _dims(one)
    for tensor in graph.initializer:
        known[tensor.name] = tuple(tensor.dims)
        if _product(tensor.dims) <= _SMALL:
            inner.initializer.add().CopyFrom(tensor)
        else:  # its shape is enough
            kind = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            inner.input.add().CopyFrom(kind)
    for entry in graph.output:
        inner.output.add().name = entry.name
    try:
        found = onnx.shape_inference.infer_shapes(shell).graph
    except Exception as error:  # onnx raises its own types
        raise _UnboundedError("has layers whose shapes do not fit each other") from error
    held = {entry.name: entry for entry in (*found.value_info, *found.output)}
    for name in (name for node in graph.node for name in node.output if name):
        if name not in held or not held[name].type.tensor_type.HasField("shape"):
            raise _UnboundedError(f"has the tensor {shown(name)}, whose shape cannot be known")
        known[name] = _dims(held[name])
    _check_ends(graph, held, known)
    return known


def _check_ends(graph: Any, held: dict[str, Any], known: Shapes) -> None:
    (output,) = graph.output
    shape = known.get(output.name, ())
    kind = held[output.name].type.tensor_type.elem_type if output.name in held else 0
    if len(shape) != 2 or kind != _FLOAT:
        raise _UnboundedError(f"gives {len(shape)} dimensions of type {kind}, not float32 [batch, classes]")
    batch = known[graph.input[0].name][0] if graph.input and known[graph.input[0].name] else 0
    if not 1 <= batch <= _MOST_BATCH or shape[0] != batch:
        raise _UnboundedError(f"takes {batch} images at once and answers for {shape[0]}")


def _check_work(graph: Any, shapes: Shapes) -> None:
    """Raise for tensors that no memory holds, and for work that does not end soon."""
    macs, elements = 0.0, 0.0
    batch = max(1, next(iter(shapes[graph.input[0].name]), 1))
    for node in graph.node:
        made = sum(_product(shapes[name]) for name in node.output if name)
        if made > _MOST_ELEMENTS or any(not all(shapes[name]) for name in node.output if name):
            raise _UnboundedError(f"has a node {shown(node.op_type)} that makes {made:g} numbers")
        elements += made
        macs += made * _factors(node, shapes)
    if elements > _MOST_ELEMENTS_IN_ALL or macs > _MOST_MACS * batch:
        raise _UnboundedError(f"asks for {macs:g} multiplications, far above any network of a space")


def _factors(node: Any, shapes: Shapes) -> float:
    """Multiplications per number that a node makes; 0 for the cheap ones."""
    if (place := _WEIGHT_INPUT.get(node.op_type)) is None:
        return 0.0
    weights = shapes.get(node.input[place], ()) if place < len(node.input) else ()
    # A convolution's weights are [out, in / groups, height, width]; a matrix has its inputs on either axis.
    return _product(weights[1:]) if node.op_type.endswith("Conv") else float(max(weights, default=1))


def _dims(entry: Any) -> tuple[int, ...]:
    """Its lengths; 0 for one that is not known."""
    return tuple(d.dim_value if d.HasField("dim_value") else 0 for d in entry.type.tensor_type.shape.dim)


def _product(lengths: Iterable[int]) -> float:
    return math.prod(map(float, lengths))
