"""Quantisation to 8 bits: scales and zero points of activations, stored weights and biases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TIMED_SCALE = 1e-3
"""Scale of weights without values."""
_BIAS_LIMIT = 2.0**30
_LEAST_SPAN = 1e-3


def levels(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of 256 levels over a range, which is widened to include 0.

    The zero point counts from the smallest integer.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, _LEAST_SPAN) / 255.0))
    return scale, min(255, max(0, round(-low / scale)))


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredWeights:
    """Weight and bias of one operator as integers, with float32 scales ``[out]``.

    ``weight`` is int8 of the operator's shape and ``bias`` int32 ``[out]``; ``None`` without a value.
    """

    weight: NDArray[np.int8] | None
    scale: NDArray[np.float32]
    bias: NDArray[np.int32] | None
    bias_scale: NDArray[np.float32]


def stored_weights(
    weight: NDArray[Any] | None,
    bias: NDArray[Any] | None,
    shape: tuple[int, ...],
    *,
    in_scale: float,
    bits: int,
    slope: float = 1.0,
    offset: float = 0.0,
) -> StoredWeights:
    """Quantise weights with one symmetric scale per output channel, and a bias that onnxruntime can fuse.

    Args:
        weight: floats, as many as ``shape`` holds; ``None``: only scales are computed.
        bias: float ``[out]``, or ``None``.
        shape: shape of the stored weight, output channels first.
        in_scale: scale of the operator's input.
        bits: bits per weight.
        slope, offset: stored are ``slope * weight`` and ``slope * bias + offset``.
    """
    most = 2 ** (bits - 1) - 1
    stored: NDArray[np.int8] | None = None
    stored_bias: NDArray[np.int32] | None = None
    values = None if bias is None else bias.astype(np.float64) * slope + offset
    scale = np.full(shape[0], TIMED_SCALE, dtype=np.float32)
    if weight is not None:
        scaled = weight.astype(np.float64).reshape(shape) * slope
        largest = np.abs(scaled).reshape(shape[0], -1).max(axis=1)
        scale = (np.maximum(largest, 1e-8) / most).astype(np.float32)
        if values is not None:  # next to weights near zero, the bias would overflow 32 bits
            scale = np.maximum(scale, (np.abs(values) / (_BIAS_LIMIT * in_scale)).astype(np.float32))
        steps = scaled / scale.reshape(-1, *[1] * (len(shape) - 1))
        stored = np.clip(np.rint(steps), -most, most).astype(np.int8)
    # onnxruntime fuses only if the bias has exactly this scale.
    bias_scale = scale * np.float32(in_scale)
    if values is not None:
        stored_bias = np.rint(values / bias_scale).astype(np.int32)
    return StoredWeights(weight=stored, scale=scale, bias=stored_bias, bias_scale=bias_scale)
