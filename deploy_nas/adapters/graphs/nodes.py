"""What both emitters share: nodes and initialisers in the order they are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from deploy_nas.core.layers import Conv, Pool
from deploy_nas.core.tensors import TensorSpec

DATA_TYPES = {
    "float32": TensorProto.FLOAT,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
}


class Nodes:
    """A graph under construction, begun anew or where ``before`` ends.

    ``given`` holds the weights and biases that it only names.
    """

    def __init__(self, before: Nodes | None = None) -> None:
        self.nodes: list[Any] = [] if before is None else before.nodes
        self.initializers: list[Any] = [] if before is None else before.initializers
        self.given: dict[str, TensorSpec] = {} if before is None else before.given

    def node(self, kind: str, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node with one output of its own name; returns that name."""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, kind: int, values: Sequence[float], shape: tuple[int, ...] = ()) -> str:
        """Add a small initialiser, a scalar unless it has a shape; returns its name."""
        self.initializers.append(helper.make_tensor(name, kind, shape, values))
        return name

    def tensor(self, name: str, spec: TensorSpec, value: NDArray[Any] | None) -> str:
        """Add a weight or bias, only named where it has no value; returns its name."""
        if value is None:
            self.given[name] = spec
            self.initializers.append(_named_only(name, spec))
        else:
            self.raw(name, DATA_TYPES[spec.type], value.reshape(spec.shape))
        return name

    def raw(self, name: str, kind: int, value: NDArray[Any]) -> str:
        """Add an initialiser stored as raw bytes; returns its name."""
        data = np.ascontiguousarray(value).tobytes()
        self.initializers.append(helper.make_tensor(name, kind, value.shape, data, raw=True))
        return name


def _named_only(name: str, spec: TensorSpec) -> Any:
    """An initialiser whose value the session is given when it opens (``add_external_initializers``)."""
    tensor = TensorProto(name=name, data_type=DATA_TYPES[spec.type], dims=spec.shape)
    tensor.data_location = TensorProto.EXTERNAL
    size = np.dtype(spec.type).itemsize * int(np.prod(spec.shape))
    for key, value in (("location", "given"), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def convolution(op: Conv) -> dict[str, Any]:
    """Attributes of a convolution."""
    return {
        "kernel_shape": [op.kernel] * 2,
        "strides": [op.stride] * 2,
        "pads": [op.kernel // 2] * 4,
        "group": op.in_channels if op.depthwise else 1,
    }


def pooling(op: Pool, in_size: int) -> tuple[str, dict[str, Any]]:
    """ONNX operator and attributes of a pooling whose input has side ``in_size``."""
    sides = {"kernel_shape": [op.kernel] * 2, "strides": [op.stride] * 2}
    if op.kind == "max":
        return "MaxPool", {"pads": [op.kernel // 2] * 4, **sides}
    # Padding at the end that is not counted, instead of ceil_mode: runtimes differ in that one.
    past = (op.out_size(in_size) - 1) * op.stride + op.kernel - in_size
    return "AveragePool", {"pads": [0, 0, past, past], "count_include_pad": 0, **sides}
