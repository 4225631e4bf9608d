"""Tensors as a graph declares them: shape and number type, no values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploy_nas.core.fields import Fields

TensorType = Literal["float32", "int8", "int32"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """Shape and number type of a weight or bias."""

    shape: tuple[int, ...]
    type: TensorType = "float32"

    def to_json(self) -> dict[str, object]:
        """The object in a kit."""
        return {"shape": list(self.shape), "type": self.type}

    @classmethod
    def from_json(cls, fields: Fields) -> TensorSpec:
        """From a kit's object; raises :class:`RecordError` naming the key."""
        kind = fields.text("type")
        for known in _TYPES:
            if kind == known:
                return cls(shape=tuple(fields.integers("shape")), type=known)
        raise fields.wrong("type", f"one of {', '.join(_TYPES)}")


_TYPES: tuple[TensorType, ...] = ("float32", "int8", "int32")
