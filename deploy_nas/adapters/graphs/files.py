"""Model files: put together from nodes, checked, read, and changed without touching what they compute."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deploy_nas.adapters.graphs.nodes import Nodes
from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import parse_json
from deploy_nas.core.walk import NamedLayers, weight_shapes

OPSET = 17
"""The runtime's blocked layout takes Resize up to version 13 and Conv up to 11: later ones lose it."""
IR_VERSION = 9
INPUT, OUTPUT = "image", "logits"

Weights = Mapping[str, NDArray[np.float32]]
"""Values by name, as ``core.walk.weight_tensors`` lists them."""


def assemble(
    made: Nodes, layers: NamedLayers, *, metadata: Mapping[str, Any] | None, batch: int | None, name: str
) -> bytes:
    """A serialised model of the nodes made for these layers; the last node's result is the output."""
    made.nodes[-1].output[0] = OUTPUT
    first, last = layers[0][1], layers[-1][1]
    size: int | str = "batch" if batch is None else batch
    in_shape = [size, first.in_channels, first.in_size, first.in_size]
    out_shape = [size, last.out_channels, *([] if last.flat else [last.out_size] * 2)]
    graph = helper.make_graph(
        made.nodes,
        name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, in_shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, out_shape)],
        made.initializers,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="deploy-nas",
    )
    _set_metadata(model, metadata or {})
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _set_metadata(model: Any, values: Mapping[str, Any]) -> None:
    held = {prop.key: prop for prop in model.metadata_props}
    for key, value in values.items():
        prop = held.get(key) or model.metadata_props.add()
        prop.key, prop.value = key, json.dumps(value, allow_nan=False, ensure_ascii=False)


def check_model(data: bytes) -> None:
    """onnx.checker and strict shape inference; raises :class:`RecordError`."""
    try:
        onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    except Exception as error:  # the checker raises several unrelated types
        raise RecordError(f"is not a valid ONNX model ({error})", subject="model") from error


def read_metadata(data: bytes, subject: str) -> dict[str, Any]:
    """The metadata of a model that ``build_model`` made; raises :class:`RecordError` otherwise."""
    try:
        model = onnx.load_from_string(data)
        return {p.key: parse_json(p.value.encode()) for p in model.metadata_props}
    except Exception as error:  # protobuf's and json's own types
        raise RecordError("is not an ONNX model of deploy-nas, or is cut short", subject=subject) from error


def read_weights(data: bytes, layers: NamedLayers, subject: str) -> dict[str, NDArray[np.float32]]:
    """The weights of a model that ``build_model`` made of these layers; else :class:`RecordError`."""
    model = onnx.load_from_string(data)
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in weight_shapes(layers).items():
        tensor = held.get(name)
        if tensor is None or tuple(tensor.dims) != shape or tensor.data_type != TensorProto.FLOAT:
            raise RecordError(
                f"has no weight {name} of shape {shape}", subject=subject, hint="export it again"
            )
        weights[name] = numpy_helper.to_array(tensor)
    return weights


def input_of(data: bytes, subject: str = "model") -> tuple[str, list[int | None]]:
    """Type and four dimensions of a model's only input, ``None``: any; raises :class:`RecordError`."""
    inputs = onnx.load_from_string(data).graph.input
    kind = inputs[0].type.tensor_type if len(inputs) == 1 else None
    if kind is None or len(kind.shape.dim) != 4:
        raise RecordError("does not take images, and nothing else", subject=subject)
    name = str(helper.tensor_dtype_to_np_dtype(kind.elem_type)) if kind.elem_type else "anything"
    return name, [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]


def with_outputs(data: bytes, names: Sequence[str]) -> bytes:
    """The model with more of its tensors as outputs, after its own."""
    model = onnx.load_from_string(data)
    for name in names:
        model.graph.output.append(helper.make_empty_tensor_value_info(name))
    more: bytes = model.SerializeToString()
    return more


def with_shapes(data: bytes) -> bytes:
    """The model with the shape of every tensor written down, for people who look at it."""
    inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(data), strict_mode=True)
    shown: bytes = inferred.SerializeToString(deterministic=True)
    return shown


def with_metadata(data: bytes, values: Mapping[str, Any]) -> bytes:
    """The model with these keys of its metadata set; all else stays byte for byte."""
    model = onnx.load_from_string(data)
    _set_metadata(model, values)
    changed: bytes = model.SerializeToString(deterministic=True)
    return changed


def graph_digest(data: bytes) -> str:
    """sha256 of a model without its metadata: of what it computes, whatever its metadata say."""
    model = onnx.load_from_string(data)
    del model.metadata_props[:]
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
