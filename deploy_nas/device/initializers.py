"""Puts values into a graph that names its weights without values, as graphs to be timed do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deploy_nas.core.arrays import Array
from deploy_nas.core.errors import RecordError
from deploy_nas.core.wire import as_bytes, field_bytes, spans

# Numbers of the fields in onnx.proto.
_MODEL_GRAPH, _GRAPH_INITIALIZER = 7, 5
_NAME, _RAW, _EXTERNAL, _LOCATION = 8, 9, 13, 14


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
