"""Values of the weights that graphs to be timed only name: random ones, and a graph with values put in."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from deploy_nas.core.arrays import Array, Float32Array
from deploy_nas.core.errors import RecordError
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.core.wire import as_bytes, field_bytes, spans

# Numbers of the fields in onnx.proto.
_MODEL_GRAPH, _GRAPH_INITIALIZER = 7, 5
_NAME, _RAW, _EXTERNAL, _LOCATION = 8, 9, 13, 14


def random_initializers(tensors: Mapping[str, TensorSpec], rng: np.random.Generator) -> dict[str, Array]:
    """Values for timing: weights with He's variance and biases of zero, so that nothing overflows.

    int8 tensors are weights, int32 tensors biases; a float32 tensor with one dimension is a bias.
    """
    values: dict[str, Array] = {}
    largest = max((math.prod(spec.shape) for spec in tensors.values()), default=1)
    noise = rng.standard_normal(min(largest, 1 << 22), dtype=np.float32)
    for name, spec in tensors.items():
        if spec.type == "int8":
            values[name] = np.clip(_filled(noise, spec.shape) * 40.0, -127, 127).astype(np.int8)
        elif spec.type == "int32" or len(spec.shape) == 1:
            values[name] = np.zeros(spec.shape, dtype=spec.type)
        else:
            scale = np.float32(np.sqrt(2.0 / np.prod(spec.shape[1:])))
            values[name] = _filled(noise, spec.shape) * scale
    return values


def _filled(noise: Float32Array, shape: tuple[int, ...]) -> Float32Array:
    """``np.resize``, without a copy where there are values enough."""
    count = math.prod(shape)
    return noise[:count].reshape(shape) if count <= noise.size else np.resize(noise, shape)


def with_values(model: bytes, values: Mapping[str, Array]) -> bytes:
    """A serialised ONNX model whose tensors of these names hold these values, for runtimes that take no
    values beside a model.

    Raises:
        RecordError: not a model, or cut short.
    """
    if not values:
        return model
    try:
        return b"".join(
            field_bytes(number, _graph(as_bytes(value), values))
            if number == _MODEL_GRAPH
            else model[begin:end]
            for number, value, begin, end in spans(model)
        )
    except (ValueError, IndexError) as error:
        raise RecordError("is not an ONNX file, or is cut short", subject="model") from error


def _graph(graph: bytes, values: Mapping[str, Array]) -> bytes:
    return b"".join(
        field_bytes(number, _tensor(as_bytes(value), values))
        if number == _GRAPH_INITIALIZER
        else graph[begin:end]
        for number, value, begin, end in spans(graph)
    )


def _tensor(tensor: bytes, values: Mapping[str, Array]) -> bytes:
    """The tensor with its value inside; unchanged without one for it."""
    held = list(spans(tensor))
    name = next((as_bytes(value).decode() for number, value, _, _ in held if number == _NAME), "")
    if name not in values:
        return tensor
    kept = [tensor[begin:end] for number, _, begin, end in held if number not in (_RAW, _EXTERNAL, _LOCATION)]
    array = np.ascontiguousarray(values[name])
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return b"".join([*kept, field_bytes(_RAW, little.tobytes())])
