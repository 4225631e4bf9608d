"""Tensors as a graph declares them: shape and number type, no values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TensorType = Literal["float32", "int8", "int32"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """Shape and number type of a weight or bias."""

    shape: tuple[int, ...]
    type: TensorType = "float32"
