"""Tensors of a kit: there and back, and faults named."""

from __future__ import annotations

import pytest

from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.tensors import TensorSpec, TensorType


@pytest.mark.parametrize("kind", ["float32", "int8", "int32"])
def test_there_and_back(kind: TensorType) -> None:
    spec = TensorSpec(shape=(8, 4, 3, 3), type=kind)
    assert TensorSpec.from_json(Fields(spec.to_json(), "kit.zip")) == spec


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({"shape": [1], "type": "float16"}, "'type' must be one of float32, int8, int32"),
        ({"shape": "8", "type": "int8"}, "'shape'"),
        ({"shape": [1.5], "type": "int8"}, r"shape\[0\]"),
        ({"type": "int8"}, "'shape'"),
        ({"shape": [1]}, "'type'"),
    ],
)
def test_a_fault_is_named(value: dict[str, object], what: str) -> None:
    with pytest.raises(RecordError, match=f"kit.zip: .*{what}"):
        TensorSpec.from_json(Fields(value, "kit.zip"))
