"""ONNX files without the onnx package: their seal, and the tensors and the metadata of small ones.

A search needs only the weights of an accuracy predictor; loading the onnx package for them would take longer
than the search's first generations. An ONNX file is a protobuf message (``onnx.proto``, protobuf encoding
guide); its initialisers and metadata are read, and all other fields are skipped.

A file that deploy-nas writes ends in a metadata entry ``digest``: sha256 of every other byte of the file.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.seals import DIGEST, EDITED
from deploy_nas.core.wire import as_bytes, field_bytes, fields, spans, varint

# Numbers of the fields in onnx.proto.
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_INITIALIZER = 5
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_DIMS, _TYPE, _FLOATS, _NAME, _RAW, _LOCATION = 1, 2, 4, 8, 9, 14
_FLOAT, _DOUBLE = 1, 11
_MOST_DIMS = 8

Tensor = NDArray[np.float32] | NDArray[np.float64]


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
        for number, value in fields(data):
            if number == _MODEL_METADATA:
                entry = dict(fields(as_bytes(value)))
                key, text = (as_bytes(entry.get(n, b"")).decode() for n in (_ENTRY_KEY, _ENTRY_VALUE))
                metadata[key] = text
            elif number == _MODEL_GRAPH:
                for inner, tensor in fields(as_bytes(value)):
                    if inner == _GRAPH_INITIALIZER:
                        name, array = _tensor(as_bytes(tensor))
                        tensors[name] = array
    except (ValueError, struct.error, IndexError) as error:
        raise RecordError("is not an ONNX file, or is cut short", subject=subject) from error
    return OnnxFile(tensors=tensors, metadata=metadata)


def sealed_onnx(data: bytes) -> bytes:
    """A serialised model with its digest, as its last metadata entry."""
    content, _ = _opened(data)
    text = json.dumps(hashlib.sha256(content).hexdigest()).encode()
    entry = field_bytes(_ENTRY_KEY, DIGEST.encode()) + field_bytes(_ENTRY_VALUE, text)
    return content + field_bytes(_MODEL_METADATA, entry)


def check_onnx_seal(data: bytes, subject: str, hint: str) -> bool:
    """True for a model with its digest, false for one without any.

    Args:
        data: a serialised model.
        subject: names it in errors.
        hint: what to do about one that was edited.

    Raises:
        MismatchError: the digest is of another content.
        RecordError: not a model, or cut short.
    """
    try:
        content, stated = _opened(data)
    except (ValueError, struct.error, IndexError) as error:
        raise RecordError("is not an ONNX file, or is cut short", subject=subject) from error
    if not stated:
        return False
    if stated != [json.dumps(hashlib.sha256(content).hexdigest())]:
        raise MismatchError(EDITED, subject=subject, hint=hint)
    return True


def _opened(data: bytes) -> tuple[bytes, list[str]]:
    """A serialised model without its digest, byte for byte, and the digests that it states."""
    parts: list[bytes] = []
    stated: list[str] = []
    begin = 0
    for number, value, start, end in spans(data):
        if number == _MODEL_METADATA:
            entry = dict(fields(as_bytes(value)))
            if entry.get(_ENTRY_KEY) == DIGEST.encode():
                stated.append(as_bytes(entry.get(_ENTRY_VALUE, b"")).decode("utf-8", "replace"))
                parts.append(data[begin:start])
                begin = end
    return b"".join([*parts, data[begin:]]), stated


def _tensor(data: bytes) -> tuple[str, Tensor]:
    dims: list[int] = []
    name, raw, floats, kind = "", b"", b"", 0
    for number, value in fields(data):
        if number == _DIMS:
            dims += [value] if isinstance(value, int) else _packed(value)
        elif number == _TYPE and isinstance(value, int):
            kind = value
        elif number == _NAME:
            name = as_bytes(value).decode()
        elif number == _RAW:
            raw = as_bytes(value)
        elif number == _FLOATS:
            floats += as_bytes(value)
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
        value, at = varint(data, at)
        found.append(value)
    return found
