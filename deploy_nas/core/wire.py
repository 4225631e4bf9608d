"""The wire format of protobuf, in which ONNX files are written (protobuf encoding guide)."""

from __future__ import annotations

from collections.abc import Iterator

Field = tuple[int, int | bytes]
"""Number and value of a field of a message: a whole number, or bytes."""


def fields(data: bytes) -> Iterator[Field]:
    """Number and value of each field of a message; raises as :func:`spans`."""
    return ((number, value) for number, value, _, _ in spans(data))


def spans(data: bytes) -> Iterator[tuple[int, int | bytes, int, int]]:
    """Number, value, begin and end of each field of a message.

    Raises:
        ValueError, IndexError: not a message, or cut short.
    """
    at = 0
    while at < len(data):
        start = at
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == 0:
            value, at = varint(data, at)
        elif kind in (1, 5):
            width = 8 if kind == 1 else 4
            value, at = data[at : at + width], at + width
        elif kind == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError("a wire type that onnx does not use")
        if at > len(data) or not number:
            raise ValueError("cut short")
        yield number, value, start, at


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The whole number at a place, and the place after it; raises as :func:`spans`."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")


def varint_bytes(value: int) -> bytes:
    """A whole number as it is written."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def field_bytes(number: int, value: bytes) -> bytes:
    """A field with bytes as it is written."""
    return varint_bytes(number << 3 | 2) + varint_bytes(len(value)) + value


def as_bytes(value: int | bytes) -> bytes:
    """The value of a field that holds bytes; raises :class:`ValueError` for a number."""
    if isinstance(value, int):
        raise ValueError("a number instead of bytes")
    return value
