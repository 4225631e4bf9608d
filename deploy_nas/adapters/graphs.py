"""ONNX graphs from layers: the one spelling of a network that is both timed and shipped.

Spelled for ONNX Runtime: HardSwish and HardSigmoid as one operator each, a global pool instead of
two means, batch norms folded; so the activations fuse into their convolutions. The gate of a
squeeze-and-excitation is enlarged to the image before it is multiplied, and the classifier is a 1x1
convolution; so the whole network stays in the runtime's blocked layout (docs/notes/export.md has what each
is worth). Nodes are named by place and role (``stage2.block1/depthwise``); the same input gives the
same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import parse_json
from deploy_nas.core.layers import Conv, GlobalPool, Layer, Linear, Pool, SqueezeExcite, Step

OPSET = 17
"""The runtime's blocked layout takes Resize up to version 13 and Conv up to 11: later ones lose it."""
IR_VERSION = 9
INPUT, OUTPUT = "image", "logits"

Weights = Mapping[str, NDArray[np.float32]]
NamedLayers = Sequence[tuple[str, Layer]]

_ACTIVATIONS = {"relu": "Relu", "hard_swish": "HardSwish"}


def weight_shapes(layers: NamedLayers) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor a graph of these layers needs."""
    shapes: dict[str, tuple[int, ...]] = {}
    for place, layer in layers:
        for op in (step.op for step in layer.all_steps):
            name = f"{place}/{op.role}"
            if isinstance(op, Conv):
                shapes[f"{name}.weight"] = op.weight_shape
                if op.norm:
                    shapes[f"{name}.bias"] = (op.out_channels,)
            elif isinstance(op, SqueezeExcite):
                shapes[f"{name}.reduce.weight"] = (op.mid_channels, op.channels, 1, 1)
                shapes[f"{name}.reduce.bias"] = (op.mid_channels,)
                shapes[f"{name}.expand.weight"] = (op.channels, op.mid_channels, 1, 1)
                shapes[f"{name}.expand.bias"] = (op.channels,)
            elif isinstance(op, Linear):
                shapes[f"{name}.weight"] = (op.out_channels, op.in_channels, 1, 1)
                shapes[f"{name}.bias"] = (op.out_channels,)
    return shapes


class _Builder:
    """Collects nodes and initialisers in the order they are made."""

    def __init__(self, weights: Weights | None, *, fixed_batch: bool = True) -> None:
        self.weights, self.fixed_batch = weights, fixed_batch
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def node(self, kind: str, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def tensor(self, name: str, shape: tuple[int, ...]) -> str:
        if self.weights is None:
            self.initializers.append(named_only(name, shape))
            return name
        value = self.weights[name]
        if value.shape != shape:
            raise RecordError(f"has shape {value.shape}, the layer needs {shape}", subject=name)
        array = np.ascontiguousarray(value, dtype="<f4")
        self.initializers.append(
            helper.make_tensor(name, TensorProto.FLOAT, shape, array.tobytes(), raw=True)
        )
        return name

    def activation(self, kind: str, name: str, x: str) -> str:
        if not kind:
            return x
        if kind == "relu6":
            bounds = [f"{name}.low", f"{name}.high"]
            for bound, value in zip(bounds, (0.0, 6.0), strict=True):
                self.initializers.append(helper.make_tensor(bound, TensorProto.FLOAT, (), [value]))
            return self.node("Clip", f"{name}.relu6", [x, *bounds])
        return self.node(_ACTIVATIONS[kind], f"{name}.{kind}", [x])

    def conv(self, name: str, op: Conv, x: str) -> str:
        inputs = [x, self.tensor(f"{name}.weight", op.weight_shape)]
        if op.norm:
            inputs.append(self.tensor(f"{name}.bias", (op.out_channels,)))
        x = self.node(
            "Conv",
            name,
            inputs,
            kernel_shape=[op.kernel, op.kernel],
            strides=[op.stride, op.stride],
            pads=[op.kernel // 2] * 4,
            group=op.in_channels if op.depthwise else 1,
        )
        return self.activation(op.activation, name, x)

    def squeeze(self, name: str, op: SqueezeExcite, x: str, size: int) -> str:
        gate = self.node("GlobalAveragePool", f"{name}.pool", [x])
        for step, out, inner in (
            ("reduce", op.mid_channels, op.channels),
            ("expand", op.channels, op.mid_channels),
        ):
            weight = self.tensor(f"{name}.{step}.weight", (out, inner, 1, 1))
            bias = self.tensor(f"{name}.{step}.bias", (out,))
            gate = self.node("Conv", f"{name}.{step}", [gate, weight, bias], kernel_shape=[1, 1])
            if step == "reduce":
                gate = self.node("Relu", f"{name}.reduce.relu", [gate])
        gate = self.node("HardSigmoid", f"{name}.gate", [gate], alpha=1.0 / 6.0, beta=0.5)
        # A Mul of one shape stays in the blocked layout; the runtime knows them for one only where the
        # batch is fixed.
        if size > 1 and self.fixed_batch:
            gate = self.enlarge(f"{name}.gate.resize", gate, size)
        return self.node("Mul", name, [x, gate])

    def enlarge(self, name: str, x: str, size: int) -> str:
        """One pixel to a square image of that side."""
        scales = f"{name}.scales"
        factors = [1.0, 1.0, float(size), float(size)]
        self.initializers.append(helper.make_tensor(scales, TensorProto.FLOAT, (4,), factors))
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.node("Resize", name, [x, "", scales], mode="nearest", **how)

    def pool(self, name: str, step: Step, op: Pool, x: str) -> str:
        kind, attributes = pooling(step, op)
        return self.node(kind, name, [x], **attributes)

    def layer(self, place: str, layer: Layer, x: str) -> str:
        entry = x
        x = self.chain(place, layer.steps, x)
        if not layer.residual:
            return x
        skip = self.chain(place, layer.shortcut_steps, entry)
        name = f"{place}/add"
        return self.activation(layer.activation, name, self.node("Add", name, [x, skip]))

    def chain(self, place: str, steps: Sequence[Step], x: str) -> str:
        for step in steps:
            op = step.op
            name = f"{place}/{op.role}"
            if isinstance(op, Conv):
                x = self.conv(name, op, x)
            elif isinstance(op, SqueezeExcite):
                x = self.squeeze(name, op, x, step.in_size)
            elif isinstance(op, Pool):
                x = self.pool(name, step, op, x)
            elif isinstance(op, GlobalPool):
                x = self.node("GlobalAveragePool", name, [x])
            else:
                weight = self.tensor(f"{name}.weight", (op.out_channels, op.in_channels, 1, 1))
                bias = self.tensor(f"{name}.bias", (op.out_channels,))
                x = self.node("Conv", name, [x, weight, bias], kernel_shape=[1, 1])
                x = self.node("Flatten", f"{name}.flatten", [x])
        return x


def named_only(name: str, shape: tuple[int, ...], kind: int = TensorProto.FLOAT) -> Any:
    """An initialiser whose value the session is given when it opens (``add_external_initializers``)."""
    tensor = TensorProto(name=name, data_type=kind, dims=shape)
    tensor.data_location = TensorProto.EXTERNAL
    size = helper.tensor_dtype_to_np_dtype(kind).itemsize * int(np.prod(shape))
    for key, value in (("location", "given"), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def build_model(
    layers: NamedLayers,
    weights: Weights | None,
    *,
    metadata: Mapping[str, Any] | None = None,
    batch: int | None = 1,
    name: str = "subnet",
) -> bytes:
    """A network (or one layer) as a serialised ONNX model.

    Args:
        layers: places and layers in order.
        weights: float32 by name, as :func:`weight_shapes` lists them; ``None`` names them only, for
            timing (a few kilobytes a network: the device makes the values).
        metadata: each value is stored as JSON under its key.
        batch: fixed batch size, or ``None`` for a dynamic one named "batch".
        name: of the graph.

    Raises:
        RecordError: a weight of the wrong shape.
    """
    builder = _Builder(weights, fixed_batch=batch is not None)
    x = INPUT
    for place, layer in layers:
        x = builder.layer(place, layer, x)
    return assemble(builder.nodes, builder.initializers, layers, metadata=metadata, batch=batch, name=name)


def pooling(step: Step, op: Pool) -> tuple[str, dict[str, Any]]:
    """Operator and attributes of a pooling."""
    sides = {"kernel_shape": [op.kernel] * 2, "strides": [op.stride] * 2}
    if op.kind == "max":
        return "MaxPool", {"pads": [op.kernel // 2] * 4, **sides}
    # Padding at the end that is not counted, instead of ceil_mode: runtimes differ in that one.
    past = (step.out_size - 1) * op.stride + op.kernel - step.in_size
    return "AveragePool", {"pads": [0, 0, past, past], "count_include_pad": 0, **sides}


def float_part(layers: NamedLayers, weights: Weights | None) -> tuple[list[Any], list[Any], str]:
    """Nodes and initialisers of the first layers of a network, and the name of their result."""
    builder, x = _Builder(weights), INPUT
    for place, layer in layers:
        x = builder.layer(place, layer, x)
    return builder.nodes, builder.initializers, x


def with_outputs(data: bytes, names: Sequence[str]) -> bytes:
    """The model with more of its tensors as outputs, after its own."""
    model = onnx.load_from_string(data)
    for name in names:
        model.graph.output.append(helper.make_empty_tensor_value_info(name))
    more: bytes = model.SerializeToString()
    return more


def assemble(
    nodes: list[Any],
    initializers: list[Any],
    layers: NamedLayers,
    *,
    metadata: Mapping[str, Any] | None,
    batch: int | None,
    name: str,
) -> bytes:
    """A serialised model of the nodes that stand for these layers; the last node's result is the output."""
    nodes[-1].output[0] = OUTPUT
    first, last = layers[0][1], layers[-1][1]
    size: int | str = "batch" if batch is None else batch
    ends_flat = isinstance(last.ops[-1], Linear)
    out_shape = [size, last.out_channels, *([] if ends_flat else [last.out_size, last.out_size])]
    graph = helper.make_graph(
        nodes,
        name,
        [
            helper.make_tensor_value_info(
                INPUT, TensorProto.FLOAT, [size, first.in_channels, *[first.in_size] * 2]
            )
        ],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, out_shape)],
        initializers,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="deploy-nas",
    )
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value, allow_nan=False, ensure_ascii=False)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def check_model(data: bytes) -> None:
    """onnx.checker and strict shape inference; raises :class:`RecordError`."""
    try:
        onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    except Exception as error:  # the checker raises several unrelated types
        raise RecordError(f"is not a valid ONNX model ({error})", subject="model") from error


def read_metadata(data: bytes, subject: str) -> dict[str, Any]:
    """The metadata of a model that :func:`build_model` made; raises :class:`RecordError` otherwise."""
    try:
        model = onnx.load_from_string(data)
        return {p.key: parse_json(p.value.encode()) for p in model.metadata_props}
    except Exception as error:  # protobuf's and json's own types
        raise RecordError("is no ONNX model of deploy-nas, or cut short", subject=subject) from error


def read_weights(data: bytes, layers: NamedLayers, subject: str) -> dict[str, NDArray[np.float32]]:
    """The weights of a model that :func:`build_model` made of these layers; else :class:`RecordError`."""
    model = onnx.load_from_string(data)
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in weight_shapes(layers).items():
        tensor = held.get(name)
        if tensor is None or tuple(tensor.dims) != shape or tensor.data_type != TensorProto.FLOAT:
            raise RecordError(
                f"has no weight {name} of shape {shape}", subject=subject, hint="export it anew"
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


def with_shapes(data: bytes) -> bytes:
    """The model with the shape of every tensor written down, for people who look at it."""
    inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(data), strict_mode=True)
    shown: bytes = inferred.SerializeToString(deterministic=True)
    return shown


def with_metadata(data: bytes, values: Mapping[str, Any]) -> bytes:
    """The model with these keys of its metadata set; all else stays byte for byte."""
    model = onnx.load_from_string(data)
    held = {prop.key: prop for prop in model.metadata_props}
    for key, value in values.items():
        prop = held.get(key) or model.metadata_props.add()
        prop.key, prop.value = key, json.dumps(value, allow_nan=False, ensure_ascii=False)
    changed: bytes = model.SerializeToString(deterministic=True)
    return changed


def graph_digest(data: bytes) -> str:
    """sha256 of a model without its metadata: what it computes, whatever is said of it."""
    model = onnx.load_from_string(data)
    del model.metadata_props[:]
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
