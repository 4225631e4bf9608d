"""The INT8 graph of a network, in QDQ form such that onnxruntime runs all of it quantised.

Activations are 8-bit, one scale and zero point per tensor; weights are 8-bit, symmetric, one scale per
output channel. Hard sigmoid and hard swish have no quantised kernel in onnxruntime; unchanged, each would
run in float between a dequantise and a quantise. Here saturation does their work (docs/notes/export.md):

- A hard sigmoid is clip(x / 6 + 1/2, 0, 1): the convolution before it takes the slope and offset, and
  quantising to 0..1 clips.
- A hard swish is x * clip(x + 3, 0, 6) / 6. Its input is quantised from -3 up, in steps of 3 / m for a
  whole m. The gate is then the same bytes, clipped to at most 2m and read at another scale.
- A ReLU is a quantisation from 0 up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters.graphs.fp32 import Fp32Emitter
from deploy_nas.adapters.graphs.nodes import (
    INPUT,
    OUTPUT,
    Attribute,
    Nodes,
    NumberType,
    Weights,
    convolution,
    pooling,
)
from deploy_nas.adapters.graphs.quantization import levels, stored_weights
from deploy_nas.adapters.graphs.ranges import Range, Ranges, float_layers
from deploy_nas.core.errors import OptionError
from deploy_nas.core.layers import Activation, Conv, GlobalPool, Linear, Pool, SqueezeExcite
from deploy_nas.core.precision import Scheme
from deploy_nas.core.tensors import TensorSpec, TensorType
from deploy_nas.core.walk import NamedLayers, walk

_ACTIVATIONS = ("", "relu", "relu6", "hard_swish")
_TIMED_RANGE: Range = (-4.0, 4.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantized:
    """A quantised tensor; ``form`` names the constants for its scale and zero point."""

    name: str
    scale: float
    form: tuple[str, str]


class Int8Emitter(Nodes):
    """Emits quantised nodes after those of ``before``; an image is represented by a quantised tensor."""

    def __init__(self, before: Nodes, weights: Weights | None, ranges: Ranges | None, scheme: Scheme) -> None:
        super().__init__(before)
        self.weights, self.ranges, self.scheme = weights, ranges, scheme
        self.least = -128 if scheme.activations == "int8" else 0
        self.kind: NumberType = scheme.activations

    # -- operators -------------------------------------------------------------------------------

    def conv(self, op: Conv, name: str, in_size: int, x: Quantized) -> Quantized:
        """A Conv, requantised through its activation."""
        entry = self.read(f"{name}.in", x)
        inputs = self._weight(name, op.weight_shape, x, bias=op.norm)
        made = self.node("Conv", name, [entry, *inputs], **convolution(op))
        return self._activation(op.activation, name, made)

    def squeeze_excite(self, op: SqueezeExcite, name: str, in_size: int, x: Quantized) -> Quantized:
        """A global pool, two 1x1 Convs, the last quantised to the gate, and the product."""
        pooled = self._pooled("GlobalAveragePool", f"{name}.pool", x)
        step = f"{name}.reduce"
        inputs = self._weight(step, op.tensors["reduce.weight"].shape, pooled, bias=True)
        made = self.node("Conv", step, [self.read(f"{step}.in", pooled), *inputs], kernel_shape=[1, 1])
        reduced = self._activation("relu", step, made)
        step = f"{name}.expand"
        shape = op.tensors["expand.weight"].shape
        inputs = self._weight(step, shape, reduced, bias=True, slope=1.0 / 6.0, offset=0.5)
        made = self.node("Conv", step, [self.read(f"{step}.in", reduced), *inputs], kernel_shape=[1, 1])
        gate = self.quantize(f"{name}.gate", made, float(np.float32(1.0 / 255.0)), 0)
        product = self.node("Mul", name, [self.read(f"{name}.in", x), self.read(f"{name}.gate.in", gate)])
        return self.quantize(name, product, *levels(*self.range_of(name)))

    def pool(self, op: Pool, name: str, in_size: int, x: Quantized) -> Quantized:
        """A MaxPool or an AveragePool, requantised."""
        kind, attributes = pooling(op, in_size)
        return self._pooled(kind, name, x, **attributes)

    def global_pool(self, op: GlobalPool, name: str, in_size: int, x: Quantized) -> Quantized:
        """A GlobalAveragePool, requantised."""
        return self._pooled("GlobalAveragePool", name, x)

    def linear(self, op: Linear, name: str, in_size: int, x: Quantized) -> Quantized:
        """Flatten and Gemm; the logits stay in float, since this is the last operator of a network."""
        flat = replace(x, name=self.node("Flatten", f"{name}.flatten", [x.name]))
        inputs = self._weight(name, (op.out_channels, op.in_channels), x, bias=True)
        return replace(x, name=self.node("Gemm", name, [self.read(f"{name}.in", flat), *inputs], transB=1))

    def add(self, activation: Activation, name: str, x: Quantized, skip: Quantized) -> Quantized:
        """An Add, requantised through its activation."""
        inputs = [self.read(f"{name}.{side}", t) for side, t in (("left", x), ("right", skip))]
        return self._activation(activation, name, self.node("Add", name, inputs))

    # -- activations -----------------------------------------------------------------------------

    def range_of(self, name: str) -> Range:
        """Smallest and largest value of the tensor of this name."""
        return _TIMED_RANGE if self.ranges is None else self.ranges[name]

    def quantize(self, name: str, x: str, scale: float, zero: int) -> Quantized:
        """Quantise a float tensor; ``zero`` counts from the smallest integer."""
        form = self._form(name, scale, zero)
        made = self.node("QuantizeLinear", f"{name}.quantized", [x, *form])
        return Quantized(name=made, scale=scale, form=form)

    def read(self, name: str, x: Quantized) -> str:
        """Dequantise for one consumer, with which onnxruntime fuses it."""
        return self.node("DequantizeLinear", name, [x.name, *x.form])

    def _form(self, name: str, scale: float, zero: int) -> tuple[str, str]:
        return (
            self.constant(f"{name}.scale", "float32", [scale]),
            self.constant(f"{name}.zero", self.kind, [zero + self.least]),
        )

    def _pooled(self, kind: str, name: str, x: Quantized, **attributes: Attribute) -> Quantized:
        made = self.node(kind, name, [self.read(f"{name}.in", x)], **attributes)
        return self.quantize(name, made, *levels(*self.range_of(name)))

    def _activation(self, kind: Activation, name: str, x: str) -> Quantized:
        """Quantise a convolution's or an addition's result, through its activation."""
        if kind not in _ACTIVATIONS:
            raise OptionError(f"activation {kind!r} has no INT8 form", subject="precision")
        low, high = self.range_of(name)
        if kind == "hard_swish":
            half = max(1, min(127, int(3.0 * 255.0 / (3.0 + max(high, 0.0)))))
            y = self.quantize(name, x, 3.0 / half, half)
            return self._hard_swish(name, y, half)
        if kind:
            low = 0.0
        if kind == "relu6":
            high = min(high, 6.0)
        return self.quantize(name, x, *levels(low, high))

    def _hard_swish(self, name: str, y: Quantized, half: int) -> Quantized:
        bounds = [
            self.constant(f"{name}.gate.{end}", self.kind, [value + self.least])
            for end, value in (("low", 0), ("high", 2 * half))
        ]
        gate = self.node("Clip", f"{name}.gate", [y.name, *bounds])
        form = self._form(f"{name}.gate", 0.5 / half, 0)
        opened = self.read(f"{name}.gate.read", Quantized(name=gate, scale=0.5 / half, form=form))
        product = self.node("Mul", f"{name}.hard_swish", [self.read(f"{name}.read", y), opened])
        return self.quantize(f"{name}.hard_swish", product, *levels(-0.375, self.range_of(name)[1]))

    # -- weights ---------------------------------------------------------------------------------

    def _weight(
        self,
        name: str,
        shape: tuple[int, ...],
        x: Quantized,
        *,
        bias: bool,
        slope: float = 1.0,
        offset: float = 0.0,
    ) -> list[str]:
        """Weight and bias of an operator on ``x``, dequantised; arguments as for ``stored_weights``."""
        made = stored_weights(
            None if self.weights is None else self.weights[f"{name}.weight"],
            self.weights[f"{name}.bias"] if bias and self.weights is not None else None,
            shape,
            in_scale=x.scale,
            bits=self.scheme.weight_bits,
            slope=slope,
            offset=offset,
        )
        gemm = len(shape) == 2
        inputs = [self._stored(f"{name}.weight", "int8", shape, made.weight, made.scale, gemm=gemm)]
        if bias:
            held = shape[:1]
            inputs.append(self._stored(f"{name}.bias", "int32", held, made.bias, made.bias_scale, gemm=gemm))
        return inputs

    def _stored(
        self,
        name: str,
        type: TensorType,
        shape: tuple[int, ...],
        value: NDArray[Any] | None,
        scale: NDArray[np.float32],
        *,
        gemm: bool,
    ) -> str:
        read = [
            self.tensor(f"{name}_{type}", TensorSpec(shape=shape, type=type), value),
            self.raw(f"{name}_scale", "float32", scale),
        ]
        if gemm:  # onnxruntime fuses a Gemm only with zero points
            read.append(self.raw(f"{name}_zero", type, np.zeros(shape[0], type)))
        return self.node("DequantizeLinear", name, read, axis=0)


def emit_int8(layers: NamedLayers, weights: Weights | None, ranges: Ranges | None, scheme: Scheme) -> Nodes:
    """The nodes of a network (or one layer) in INT8.

    Args:
        layers: places and their layers, in order.
        weights: float32, as ``core.walk.weight_tensors`` lists them; ``None`` leaves the values out, for
            timing.
        ranges: smallest and largest value of every tensor in ``range_tensors``; ``None`` for timing.
        scheme: number formats.

    Raises:
        OptionError: an operator has no INT8 form.
        RecordError: a weight has the wrong shape.
    """
    head = float_layers(layers)
    before = Fp32Emitter(weights)
    entry = walk(layers[:head], before, INPUT)
    emitter = Int8Emitter(before, weights, ranges, scheme)
    if head < len(layers):
        x = emitter.quantize(entry, entry, *levels(*emitter.range_of(entry)))
        x = walk(layers[head:], emitter, x)
        if not layers[-1][1].flat:
            emitter.read(OUTPUT, x)
    return emitter
