"""ONNX graphs from layers: the one spelling of a network that is both timed and shipped.

Spelled for ONNX Runtime: HardSwish and HardSigmoid as one operator each, a global pool instead of
two means, batch norms folded; so the activations fuse into their convolutions. Nodes are named by
place and role (``stage2.block1/depthwise``); the same input gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from deploy_nas.core.errors import RecordError
from deploy_nas.core.layers import Conv, GlobalPool, Layer, Linear, Pool, SqueezeExcite, Step

OPSET = 17
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
                shapes[f"{name}.weight"] = (op.out_channels, op.in_channels)
                shapes[f"{name}.bias"] = (op.out_channels,)
    return shapes


class _Builder:
    """Collects nodes and initialisers in the order they are made."""

    def __init__(self, weights: Weights | None) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def node(self, kind: str, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def tensor(self, name: str, shape: tuple[int, ...]) -> str:
        if self.weights is None:
            self.initializers.append(_named_only(name, shape))
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

    def squeeze(self, name: str, op: SqueezeExcite, x: str) -> str:
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
        return self.node("Mul", name, [x, gate])

    def pool(self, name: str, step: Step, op: Pool, x: str) -> str:
        sides = {"kernel_shape": [op.kernel] * 2, "strides": [op.stride] * 2}
        if op.kind == "max":
            return self.node("MaxPool", name, [x], pads=[op.kernel // 2] * 4, **sides)
        # Padding at the end that is not counted, instead of ceil_mode: runtimes differ in that one.
        past = (step.out_size - 1) * op.stride + op.kernel - step.in_size
        return self.node("AveragePool", name, [x], pads=[0, 0, past, past], count_include_pad=0, **sides)

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
                x = self.squeeze(name, op, x)
            elif isinstance(op, Pool):
                x = self.pool(name, step, op, x)
            elif isinstance(op, GlobalPool):
                x = self.node("GlobalAveragePool", name, [x])
            else:
                flat = self.node("Flatten", f"{name}.flatten", [x])
                weight = self.tensor(f"{name}.weight", (op.out_channels, op.in_channels))
                bias = self.tensor(f"{name}.bias", (op.out_channels,))
                x = self.node("Gemm", name, [flat, weight, bias], transB=1)
        return x


def _named_only(name: str, shape: tuple[int, ...]) -> Any:
    """An initialiser whose value the session is given when it opens (``add_external_initializers``)."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "given"), ("offset", "0"), ("length", str(4 * int(np.prod(shape))))):
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
    builder = _Builder(weights)
    x = INPUT
    for place, layer in layers:
        x = builder.layer(place, layer, x)
    builder.nodes[-1].output[0] = OUTPUT
    first, last = layers[0][1], layers[-1][1]
    size: int | str = "batch" if batch is None else batch
    ends_flat = isinstance(last.ops[-1], Linear)
    out_shape = [size, last.out_channels, *([] if ends_flat else [last.out_size, last.out_size])]
    graph = helper.make_graph(
        builder.nodes,
        name,
        [
            helper.make_tensor_value_info(
                INPUT, TensorProto.FLOAT, [size, first.in_channels, *[first.in_size] * 2]
            )
        ],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, out_shape)],
        builder.initializers,
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
        return {p.key: json.loads(p.value) for p in model.metadata_props}
    except Exception as error:  # protobuf's and json's own types
        raise RecordError("is no ONNX model of deploy-nas, or cut short", subject=subject) from error
