"""The tensors and the metadata of a small ONNX file, read without the onnx package.

A search needs only the weights of an accuracy predictor; loading the onnx package for them would take longer
than the search's first generations. An ONNX file is a protobuf message (``onnx.proto``, protobuf encoding
guide); its initialisers and metadata are read, and all other fields are skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.errors import RecordError

# Numbers of the fields in onnx.proto.
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_INITIALIZER = 5
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_DIMS, _TYPE, _FLOATS, _NAME, _RAW, _LOCATION = 1, 2, 4, 8, 9, 14
_FLOAT, _DOUBLE = 1, 11
_MOST_DIMS = 8

Tensor = NDArray[np.float32] | NDArray[np.float64]
_Field = tuple[int, int | bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxFile:
    """Initialisers by name, and metadata strings by key."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read_onnx(data: bytes, subject: str) -> OnnxFile:
    """Read a serialised model; raises :class:`RecordError` for anything else and for external tensors."""
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    try:
        for number, value in _fields(data):
            if number == _MODEL_METADATA:
                entry = dict(_fields(_bytes(value)))
                key, text = (_bytes(entry.get(n, b"")).decode() for n in (_ENTRY_KEY, _ENTRY_VALUE))
                metadata[key] = text
            elif number == _MODEL_GRAPH:
                for inner, tensor in _fields(_bytes(value)):
                    if inner == _GRAPH_INITIALIZER:
                        name, array = _tensor(_bytes(tensor))
                        tensors[name] = array
    except (ValueError, struct.error, IndexError) as error:
        raise RecordError("is not an ONNX file, or is cut short", subject=subject) from error
    return OnnxFile(tensors=tensors, metadata=metadata)


def _fields(data: bytes) -> Iterator[_Field]:
    """Number and value of each field of a message: a whole number, or bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == 0:
            value, at = _varint(data, at)
        elif kind in (1, 5):
            width = 8 if kind == 1 else 4
            value, at = data[at : at + width], at + width
        elif kind == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError("a wire type that onnx does not use")
        if at > len(data) or not number:
            raise ValueError("cut short")
        yield number, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number instead of bytes")
    return value


def _tensor(data: bytes) -> tuple[str, Tensor]:
    dims: list[int] = []
    name, raw, floats, kind = "", b"", b"", 0
    for number, value in _fields(data):
        if number == _DIMS:
            dims += [value] if isinstance(value, int) else _packed(value)
        elif number == _TYPE and isinstance(value, int):
            kind = value
        elif number == _NAME:
            name = _bytes(value).decode()
        elif number == _RAW:
            raw = _bytes(value)
        elif number == _FLOATS:
            floats += _bytes(value)
        elif number == _LOCATION and value:
            raise ValueError("its values lie in another file")
    if kind not in (_FLOAT, _DOUBLE) or len(dims) > _MOST_DIMS:
        raise ValueError("a tensor that is neither float nor double")
    floats32 = np.frombuffer(raw or floats if kind == _FLOAT else b"", dtype="<f4")
    array: Tensor = floats32 if kind == _FLOAT else np.frombuffer(raw, dtype="<f8")
    if array.size != int(np.prod(dims, dtype=np.float64)):
        raise ValueError("cut short")
    return name, array.reshape(dims)


def _packed(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        found.append(value)
    return found
