"""ONNX graphs in INT8: our layers in QDQ form, spelled so that onnxruntime runs all of them quantised.

Activations are 8-bit, one scale and zero point a tensor; weights are 8-bit, symmetric, one scale an
output channel. Hard sigmoid and hard swish have no quantised kernel in onnxruntime; left as they are,
each stands between a dequantise and a quantise. Here saturation does their work (docs/notes/export.md):

- A hard sigmoid is clip(x / 6 + 1/2, 0, 1): the convolution before it takes the slope and offset, and
  quantising to 0..1 clips.
- A hard swish is x * clip(x + 3, 0, 6) / 6. Its input is quantised from -3 on, in steps of 3 / m for a
  whole m. Then the gate is the same numbers, at most 2m: a Clip of bytes, read at another scale.
- A ReLU is quantising from 0 on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from deploy_nas.adapters.graphs import (
    INPUT,
    OUTPUT,
    NamedLayers,
    Weights,
    assemble,
    build_model,
    float_part,
    named_only,
    pooling,
    weight_shapes,
)
from deploy_nas.core.errors import OptionError
from deploy_nas.core.layers import Conv, GlobalPool, Layer, Linear, Pool, SqueezeExcite, Step
from deploy_nas.core.precision import Scheme

Range = tuple[float, float]
Ranges = Mapping[str, Range]

_ACTIVATIONS = ("", "relu", "relu6", "hard_swish")
_TIMED_RANGE: Range = (-4.0, 4.0)
_TIMED_SCALE = 1e-3
_BIAS_LIMIT = 2.0**30
_LEAST_SPAN = 1e-3
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tensor:
    """A quantised tensor; ``form`` names the constants of scale and zero point it is read with."""

    name: str
    scale: float
    form: tuple[str, str]


class _Builder:
    """Collects nodes and initialisers; every activation is handed on quantised."""

    def __init__(self, weights: Weights | None, ranges: Ranges | None, scheme: Scheme) -> None:
        self.weights, self.ranges, self.scheme = weights, ranges, scheme
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.tensors: dict[str, tuple[int, ...]] = {}
        self.least = -128 if scheme.activations == "int8" else 0
        self.kind = TensorProto.INT8 if scheme.activations == "int8" else TensorProto.UINT8

    def node(self, kind: str, name: str, inputs: list[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, kind: int, value: float) -> str:
        self.initializers.append(helper.make_tensor(name, kind, (), [value]))
        return name

    # -- activations -----------------------------------------------------------------------------

    def range_of(self, name: str) -> Range:
        return _TIMED_RANGE if self.ranges is None else self.ranges[name]

    def levels(self, low: float, high: float) -> tuple[float, int]:
        """Scale and zero point (counted from the least number) of a range that holds 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32(max(high - low, _LEAST_SPAN) / 255.0))
        return scale, min(255, max(0, round(-low / scale)))

    def form(self, name: str, scale: float, zero: int) -> tuple[str, str]:
        """Constants of a scale and a zero point; ``zero`` counts from the least number."""
        return (
            self.constant(f"{name}.scale", TensorProto.FLOAT, scale),
            self.constant(f"{name}.zero", self.kind, zero + self.least),
        )

    def quantize(self, name: str, x: str, scale: float, zero: int) -> _Tensor:
        form = self.form(name, scale, zero)
        made = self.node("QuantizeLinear", f"{name}.quantized", [x, *form])
        return _Tensor(name=made, scale=scale, form=form)

    def read(self, name: str, x: _Tensor) -> str:
        """Dequantise for one consumer: onnxruntime fuses the pair into it."""
        return self.node("DequantizeLinear", name, [x.name, *x.form])

    # -- weights ---------------------------------------------------------------------------------

    def given(self, name: str, shape: tuple[int, ...], kind: int, value: NDArray[Any] | None) -> str:
        if value is None:
            self.tensors[name] = shape
            self.initializers.append(named_only(name, shape, kind))
        else:
            data = np.ascontiguousarray(value.reshape(shape))
            self.initializers.append(helper.make_tensor(name, kind, shape, data.tobytes(), raw=True))
        return name

    def weight(
        self,
        name: str,
        shape: tuple[int, ...],
        x: _Tensor,
        *,
        bias: bool,
        slope: float = 1.0,
        offset: float = 0.0,
    ) -> list[str]:
        """Weight and bias of an operator on ``x``, dequantised: times ``slope``, the bias plus ``offset``."""
        most = 2 ** (self.scheme.weight_bits - 1) - 1
        stored: NDArray[Any] | None = None
        stored_bias: NDArray[Any] | None = None
        values: NDArray[np.float64] | None = None
        if bias and self.weights is not None:
            values = self.weights[f"{name}.bias"].astype(np.float64) * slope + offset
        scale = np.full(shape[0], _TIMED_SCALE, dtype=np.float32)
        if self.weights is not None:
            weight = self.weights[f"{name}.weight"].astype(np.float64).reshape(shape) * slope
            largest = np.abs(weight).reshape(shape[0], -1).max(axis=1)
            scale = (np.maximum(largest, 1e-8) / most).astype(np.float32)
            if values is not None:  # beside weights next to nothing the bias would not fit into 32 bits
                scale = np.maximum(scale, (np.abs(values) / (_BIAS_LIMIT * x.scale)).astype(np.float32))
            steps = weight / scale.reshape(-1, *[1] * (len(shape) - 1))
            stored = np.clip(np.rint(steps), -most, most).astype(np.int8)
        # onnxruntime fuses only where the bias has exactly this scale.
        bias_scale = scale * np.float32(x.scale)
        if values is not None:
            stored_bias = np.rint(values / bias_scale).astype(np.int32)
        inputs = [self.stored(f"{name}.weight", "int8", shape, stored, scale, gemm=len(shape) == 2)]
        if bias:
            held = shape[:1]
            inputs.append(
                self.stored(f"{name}.bias", "int32", held, stored_bias, bias_scale, gemm=len(shape) == 2)
            )
        return inputs

    def stored(
        self,
        name: str,
        kind_name: str,
        shape: tuple[int, ...],
        value: NDArray[Any] | None,
        scale: NDArray[np.float32],
        *,
        gemm: bool,
    ) -> str:
        kind = TensorProto.INT8 if kind_name == "int8" else TensorProto.INT32
        scales = helper.make_tensor(
            f"{name}_scale", TensorProto.FLOAT, scale.shape, scale.tobytes(), raw=True
        )
        read = [self.given(f"{name}_{kind_name}", shape, kind, value), scales.name]
        self.initializers.append(scales)
        if gemm:  # onnxruntime fuses no Gemm without zero points
            read.append(self.zeros(f"{name}_zero", shape[0], kind))
        return self.node("DequantizeLinear", name, read, axis=0)

    # -- operators -------------------------------------------------------------------------------

    def activation(self, kind: str, name: str, x: str) -> _Tensor:
        """Quantise a convolution's result, through its activation."""
        if kind not in _ACTIVATIONS:
            raise OptionError(f"activation {kind!r} has no INT8 form here", subject="precision")
        low, high = self.range_of(name)
        if kind == "hard_swish":
            half = max(1, min(127, int(3.0 * 255.0 / (3.0 + max(high, 0.0)))))
            y = self.quantize(name, x, 3.0 / half, half)
            return self.hard_swish(name, y, half)
        if kind:
            low = 0.0
        if kind == "relu6":
            high = min(high, 6.0)
        return self.quantize(name, x, *self.levels(low, high))

    def hard_swish(self, name: str, y: _Tensor, half: int) -> _Tensor:
        bounds = [
            self.constant(f"{name}.gate.{end}", self.kind, value + self.least)
            for end, value in (("low", 0), ("high", 2 * half))
        ]
        gate = self.node("Clip", f"{name}.gate", [y.name, *bounds])
        form = self.form(f"{name}.gate", 0.5 / half, 0)
        opened = self.read(f"{name}.gate.read", _Tensor(name=gate, scale=0.5 / half, form=form))
        product = self.node("Mul", f"{name}.hard_swish", [self.read(f"{name}.read", y), opened])
        return self.quantize(f"{name}.hard_swish", product, *self.levels(-0.375, self.range_of(name)[1]))

    def conv(self, name: str, op: Conv, x: _Tensor) -> _Tensor:
        entry = self.read(f"{name}.in", x)
        made = self.node(
            "Conv",
            name,
            [entry, *self.weight(name, op.weight_shape, x, bias=op.norm)],
            kernel_shape=[op.kernel, op.kernel],
            strides=[op.stride, op.stride],
            pads=[op.kernel // 2] * 4,
            group=op.in_channels if op.depthwise else 1,
        )
        return self.activation(op.activation, name, made)

    def pool(
        self, name: str, x: _Tensor, kind: str = "GlobalAveragePool", attributes: Mapping[str, Any] = _NONE
    ) -> _Tensor:
        made = self.node(kind, name, [self.read(f"{name}.in", x)], **attributes)
        return self.quantize(name, made, *self.levels(*self.range_of(name)))

    def squeeze(self, name: str, op: SqueezeExcite, x: _Tensor) -> _Tensor:
        pooled = self.pool(f"{name}.pool", x)
        step = f"{name}.reduce"
        inputs = self.weight(step, (op.mid_channels, op.channels, 1, 1), pooled, bias=True)
        made = self.node("Conv", step, [self.read(f"{step}.in", pooled), *inputs], kernel_shape=[1, 1])
        reduced = self.activation("relu", step, made)
        step = f"{name}.expand"
        inputs = self.weight(
            step, (op.channels, op.mid_channels, 1, 1), reduced, bias=True, slope=1.0 / 6.0, offset=0.5
        )
        made = self.node("Conv", step, [self.read(f"{step}.in", reduced), *inputs], kernel_shape=[1, 1])
        gate = self.quantize(f"{name}.gate", made, float(np.float32(1.0 / 255.0)), 0)
        product = self.node("Mul", name, [self.read(f"{name}.in", x), self.read(f"{name}.gate.in", gate)])
        return self.quantize(name, product, *self.levels(*self.range_of(name)))

    def layer(self, place: str, layer: Layer, x: _Tensor) -> _Tensor:
        entry = x
        x = self.chain(place, layer.steps, x)
        if not layer.residual:
            return x
        skip = self.chain(place, layer.shortcut_steps, entry)
        name = f"{place}/add"
        inputs = [self.read(f"{name}.{side}", t) for side, t in (("left", x), ("right", skip))]
        return self.activation(layer.activation, name, self.node("Add", name, inputs))

    def chain(self, place: str, steps: Sequence[Step], x: _Tensor) -> _Tensor:
        for step in steps:
            op = step.op
            name = f"{place}/{op.role}"
            if isinstance(op, Conv):
                x = self.conv(name, op, x)
            elif isinstance(op, SqueezeExcite):
                x = self.squeeze(name, op, x)
            elif isinstance(op, Pool):
                x = self.pool(name, x, *pooling(step, op))
            elif isinstance(op, GlobalPool):
                x = self.pool(name, x)
            else:
                x = self.classifier(name, op, x)
        return x

    def zeros(self, name: str, count: int, kind: int) -> str:
        zero = np.zeros(count, helper.tensor_dtype_to_np_dtype(kind))
        self.initializers.append(helper.make_tensor(name, kind, (count,), zero.tobytes(), raw=True))
        return name

    def classifier(self, name: str, op: Linear, x: _Tensor) -> _Tensor:
        """The logits, in float: the last operator of a network."""
        flat = replace(x, name=self.node("Flatten", f"{name}.flatten", [x.name]))
        inputs = self.weight(name, (op.out_channels, op.in_channels), x, bias=True)
        return replace(x, name=self.node("Gemm", name, [self.read(f"{name}.in", flat), *inputs], transB=1))


def build_int8(
    layers: NamedLayers,
    weights: Weights | None,
    ranges: Ranges | None,
    scheme: Scheme,
    *,
    metadata: Mapping[str, Any] | None = None,
    batch: int | None = 1,
    name: str = "subnet",
) -> tuple[bytes, dict[str, tuple[int, ...]]]:
    """A network (or one layer) in INT8 as a serialised ONNX model, and the tensors it only names.

    Args:
        layers: places and layers in order.
        weights: float32, as ``graphs.weight_shapes`` lists them; ``None`` names them only, for timing.
        ranges: least and largest value of all that :func:`range_tensors` names; ``None`` for timing.
        scheme: number formats.
        metadata, batch, name: as ``graphs.build_model`` has them.

    Raises:
        OptionError: an operator that has no INT8 form.
    """
    builder = _Builder(weights, ranges, scheme)
    head = float_layers(layers)
    builder.nodes, builder.initializers, entry = float_part(layers[:head], weights)
    if weights is None:
        builder.tensors |= weight_shapes(layers[:head])
    if head < len(layers):
        x = builder.quantize(entry, entry, *builder.levels(*builder.range_of(entry)))
        for place, layer in layers[head:]:
            x = builder.layer(place, layer, x)
        if not isinstance(layers[-1][1].ops[-1], Linear):
            builder.read(OUTPUT, x)
    data = assemble(builder.nodes, builder.initializers, layers, metadata=metadata, batch=batch, name=name)
    return data, builder.tensors


def float_layers(layers: NamedLayers) -> int:
    """How many of the first layers stay in float: the stem, and a block after it that expands nothing.

    They are few channels wide on the largest images, where a byte saves nothing: measured, the stem
    takes 1.9 times as long in INT8 and such a block 2.3 times (docs/notes/export.md).
    """
    count = 0
    for _, layer in layers:
        first = layer.ops[0]
        if not (layer.kind == "stem" or (isinstance(first, Conv) and first.depthwise)):
            break
        count += 1
    return count


def range_tensors(layers: NamedLayers) -> dict[str, str]:
    """What :func:`build_int8` needs the ranges of, and the tensor of the float graph that has each."""

    def of(place: str, layer: Layer) -> dict[str, str]:
        found: dict[str, str] = {}
        for op in (step.op for step in layer.all_steps):
            name = f"{place}/{op.role}"
            if isinstance(op, SqueezeExcite):
                found |= {f"{name}.pool": f"{name}.pool", f"{name}.reduce": f"{name}.reduce.relu", name: name}
            elif isinstance(op, Conv):
                found[name] = f"{name}.{op.activation}" if op.activation else name
            elif isinstance(op, GlobalPool | Pool):
                found[name] = name
        if layer.residual:
            name = f"{place}/add"
            found[name] = f"{name}.{layer.activation}" if layer.activation else name
        return found

    head = float_layers(layers)
    entry = list(of(*layers[head - 1]).values())[-1] if head else INPUT
    tensors = {entry: entry}
    for place, layer in layers[head:]:
        tensors |= of(place, layer)
    return tensors


def timed_graph(
    layers: NamedLayers, precision: str, activations: str = "uint8"
) -> tuple[bytes, dict[str, tuple[int, ...]]]:
    """The graph that is timed for these layers, and the tensors it only names.

    Args:
        layers: places and layers in order.
        precision: "fp32" or "int8".
        activations: of INT8, "uint8" or "int8".
    """
    if precision == "fp32":
        return build_model(layers, None), weight_shapes(layers)
    return build_int8(layers, None, None, Scheme(activations="int8" if activations == "int8" else "uint8"))


def spelling(layers: NamedLayers, precision: str) -> str:
    """How the timed graph of these layers is spelled, as 12 hex digits: nodes, links and attributes.

    A deploy-nas that spells them otherwise gives another, whatever version of onnx writes the file.
    """
    graph = onnx.load_from_string(timed_graph(layers, precision)[0]).graph
    said = [
        [
            node.op_type,
            list(node.input),
            list(node.output),
            sorted(f"{a.name}={helper.get_attribute_value(a)!r}" for a in node.attribute),
        ]
        for node in graph.node
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]
