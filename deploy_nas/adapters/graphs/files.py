"""Model files: assembled from nodes, checked, read, and changed without affecting the computation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters.graphs.nodes import INPUT, OUTPUT, Initializer, Node, Nodes
from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import parse_json
from deploy_nas.core.reader import json_text
from deploy_nas.core.seals import DIGEST
from deploy_nas.core.version import __version__
from deploy_nas.core.walk import NamedLayers, weight_shapes
from deploy_nas.records.onnx_file import sealed_onnx

OPSET = 17
"""ONNX Runtime's blocked layout supports Resize up to version 13 and Conv up to 11, but no later ones."""
IR_VERSION = 9

# Data type numbers of onnx.proto.
_FLOAT = 1
_FLOATING = (_FLOAT, 10, 11)  # float32, float16, float64
_DATA_TYPES = {"float32": _FLOAT, "uint8": 2, "int8": 3, "int32": 6}


def _onnx() -> Any:
    """The onnx package, loaded on first use."""
    import onnx

    return onnx


def assemble(
    made: Nodes,
    layers: NamedLayers,
    *,
    metadata: Mapping[str, Any] | None,
    description: str,
    batch: int | None,
    name: str,
) -> bytes:
    """A serialised model of the nodes emitted for these layers; the last node's result is the output.

    Models with metadata name the version of deploy-nas; what is only timed does not depend on it.
    """
    first, last = layers[0][1], layers[-1][1]
    size: int | str = "batch" if batch is None else batch
    in_shape = [size, first.in_channels, first.in_size, first.in_size]
    out_shape = [size, last.out_channels, *([] if last.flat else [last.out_size] * 2)]
    graph = _onnx().helper.make_graph(
        [_node(node) for node in made.ending_in(OUTPUT)],
        name,
        [_onnx().helper.make_tensor_value_info(INPUT, _FLOAT, in_shape)],
        [_onnx().helper.make_tensor_value_info(OUTPUT, _FLOAT, out_shape)],
        [_initializer(one) for one in made.initializers],
    )
    model = _onnx().helper.make_model(
        graph,
        opset_imports=[_onnx().helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="deploy-nas",
        doc_string=description,
    )
    if metadata:
        model.producer_version = __version__
    _set_metadata(model, metadata or {})
    return _serialised(model)


def _serialised(model: Any) -> bytes:
    """The model's bytes; with a new digest if it has metadata."""
    data: bytes = model.SerializeToString(deterministic=True)
    return sealed_onnx(data) if model.metadata_props else data


def _node(node: Node) -> Any:
    inputs, outputs = list(node.inputs), [node.output]
    return _onnx().helper.make_node(node.kind, inputs, outputs, name=node.name, **node.attributes)


def _initializer(made: Initializer) -> Any:
    kind = _DATA_TYPES[made.type]
    if isinstance(made.values, bytes):
        return _onnx().helper.make_tensor(made.name, kind, made.shape, made.values, raw=True)
    if made.values is not None:
        return _onnx().helper.make_tensor(made.name, kind, made.shape, made.values)
    tensor = _onnx().TensorProto(name=made.name, data_type=kind, dims=made.shape)
    # The session receives the value when it is opened (add_external_initializers).
    tensor.data_location = _onnx().TensorProto.EXTERNAL
    size = np.dtype(made.type).itemsize * int(np.prod(made.shape))
    for key, value in (("location", "given"), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def _set_metadata(model: Any, values: Mapping[str, Any]) -> None:
    held = {prop.key: prop for prop in model.metadata_props}
    for key, value in values.items():
        prop = held.get(key) or model.metadata_props.add()
        prop.key, prop.value = key, json_text(value)


def check_model(data: bytes) -> None:
    """onnx.checker and strict shape inference; raises :class:`RecordError`."""
    onnx = _onnx()  # outside: a package that is missing is no fault of the model
    try:
        onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    except Exception as error:  # the checker raises several unrelated types
        raise RecordError(f"is not a valid ONNX model ({error})", subject="model") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspected:
    """The facts about a model file, from one reading.

    Args:
        metadata: key to JSON value.
        graph_sha256: digest of the model without its metadata: it identifies the computation.
        input_type: type of its only input, as numpy names it; "anything" if the file does not say.
        input_shape: dimensions, ``None`` for a dynamic one; empty unless there is exactly one input.
        not_finite: name of a tensor that holds NaN or an infinity; empty without any.
    """

    metadata: dict[str, object]
    graph_sha256: str
    input_type: str
    input_shape: tuple[int | None, ...]
    not_finite: str = ""


def inspect_model(data: bytes, subject: str) -> Inspected:
    """Read a model that ``build_model`` or ``build_int8`` made; other files raise :class:`RecordError`."""
    load = _onnx().load_from_string  # outside: a package that is missing is no fault of the file
    try:
        model = load(data)
        metadata = _metadata_of(model)
    except Exception as error:  # protobuf's and json's own types
        raise RecordError("is not an ONNX model of deploy-nas, or is cut short", subject=subject) from error
    del model.metadata_props[:]
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    kind, shape = _input_of(model)
    return Inspected(
        metadata=metadata,
        graph_sha256=digest,
        input_type=kind,
        input_shape=shape,
        not_finite=_not_finite(model.graph),
    )


def _not_finite(graph: Any) -> str:
    """Name of the first weight that holds NaN or an infinity; empty without any."""
    constants = [(node.output[0], a.t) for node in graph.node for a in node.attribute if a.HasField("t")]
    for name, tensor in [*((t.name, t) for t in graph.initializer), *constants]:
        if tensor.data_type in _FLOATING and tensor.data_location != _onnx().TensorProto.EXTERNAL:
            try:
                values = _onnx().numpy_helper.to_array(tensor)
            except Exception:  # noqa: S112 - several types; opening the model names the fault
                continue
            if not np.isfinite(values).all():
                return str(name)
    return ""


def _metadata_of(model: Any) -> dict[str, object]:
    """Key to JSON value, without the digest, which is of the whole file."""
    return {p.key: parse_json(p.value.encode()) for p in model.metadata_props if p.key != DIGEST}


def read_weights(data: bytes, layers: NamedLayers, subject: str) -> dict[str, NDArray[np.float32]]:
    """The weights of a model that ``build_model`` made from these layers; else :class:`RecordError`."""
    model = _onnx().load_from_string(data)
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in weight_shapes(layers).items():
        tensor = held.get(name)
        if tensor is None or tuple(tensor.dims) != shape or tensor.data_type != _FLOAT:
            raise RecordError(
                f"has no weight {name} of shape {shape}", subject=subject, hint="export it again"
            )
        weights[name] = _onnx().numpy_helper.to_array(tensor)
    return weights


def _input_of(model: Any) -> tuple[str, tuple[int | None, ...]]:
    inputs = model.graph.input
    if len(inputs) != 1:
        return "anything", ()
    kind = inputs[0].type.tensor_type
    try:
        name = str(_onnx().helper.tensor_dtype_to_np_dtype(kind.elem_type)) if kind.elem_type else "anything"
    except KeyError:
        name = f"the unknown type {kind.elem_type}"
    return name, tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)


def with_outputs(data: bytes, names: Sequence[str]) -> bytes:
    """The model with these tensors as further outputs, after its own."""
    model = _onnx().load_from_string(data)
    for name in names:
        model.graph.output.append(_onnx().helper.make_empty_tensor_value_info(name))
    more: bytes = model.SerializeToString()
    return more


def with_shapes(data: bytes) -> bytes:
    """The model with the shape of every tensor recorded, for people who inspect it."""
    inferred = _onnx().shape_inference.infer_shapes(_onnx().load_from_string(data), strict_mode=True)
    return _serialised(inferred)


def with_metadata(data: bytes, values: Mapping[str, Any]) -> bytes:
    """The model with these metadata keys set, and its digest; all else stays as it was, byte for byte."""
    model = _onnx().load_from_string(data)
    _set_metadata(model, values)
    return _serialised(model)
