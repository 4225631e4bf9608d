"""Graphs under construction, for both emitters: nodes and initialisers in the order of their creation.

They are plain values, which :mod:`.files` writes as ONNX. The form of a graph is therefore known without the
onnx package, so that a search need not load it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.layers import Conv, Pool
from deploy_nas.core.tensors import TensorSpec

INPUT, OUTPUT = "image", "logits"

Weights = Mapping[str, NDArray[np.float32]]
"""Values by name, as ``core.walk.weight_tensors`` lists them."""

NumberType = Literal["float32", "int8", "uint8", "int32"]
Attribute = int | float | str | list[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One ONNX operator with one output."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Initializer:
    """One constant tensor.

    Args:
        name, type, shape: of the tensor.
        values: numbers, raw bytes, or ``None`` if the session receives them when it is opened.
    """

    name: str
    type: NumberType
    shape: tuple[int, ...]
    values: tuple[float, ...] | bytes | None


class Nodes:
    """A graph under construction, either new or a continuation of ``before``.

    ``valueless`` lists the weights and biases that it names without values.
    """

    def __init__(self, before: Nodes | None = None) -> None:
        self.nodes: list[Node] = [] if before is None else before.nodes
        self.initializers: list[Initializer] = [] if before is None else before.initializers
        self.valueless: dict[str, TensorSpec] = {} if before is None else before.valueless

    def node(self, kind: str, name: str, inputs: Sequence[str], **attributes: Attribute) -> str:
        """Add a node whose output has the node's name; returns that name."""
        self.nodes.append(
            Node(kind=kind, name=name, inputs=tuple(inputs), output=name, attributes=attributes)
        )
        return name

    def constant(
        self, name: str, type: NumberType, values: Sequence[float], shape: tuple[int, ...] = ()
    ) -> str:
        """Add a small initialiser, a scalar by default; returns its name."""
        self.initializers.append(Initializer(name=name, type=type, shape=shape, values=tuple(values)))
        return name

    def tensor(self, name: str, spec: TensorSpec, value: NDArray[np.generic] | None) -> str:
        """Add a weight or bias, with or without a value; returns its name."""
        if value is None:
            self.valueless[name] = spec
            made = Initializer(name=name, type=spec.type, shape=spec.shape, values=None)
            self.initializers.append(made)
        else:
            self.raw(name, spec.type, value.reshape(spec.shape))
        return name

    def raw(self, name: str, type: NumberType, value: NDArray[np.generic]) -> str:
        """Add an initialiser stored as raw bytes; returns its name."""
        data = np.ascontiguousarray(value).tobytes()
        self.initializers.append(Initializer(name=name, type=type, shape=value.shape, values=data))
        return name

    def ending_in(self, output: str) -> list[Node]:
        """The nodes, with the last one's output renamed to ``output``."""
        return [*self.nodes[:-1], replace(self.nodes[-1], output=output)]


def convolution(op: Conv) -> dict[str, Attribute]:
    """Attributes of a convolution."""
    return {
        "kernel_shape": [op.kernel] * 2,
        "strides": [op.stride] * 2,
        "pads": [op.kernel // 2] * 4,
        "group": op.in_channels if op.depthwise else 1,
    }


def pooling(op: Pool, in_size: int) -> tuple[str, dict[str, Attribute]]:
    """ONNX operator and attributes of a pooling whose input has side ``in_size``."""
    sides = {"kernel_shape": [op.kernel] * 2, "strides": [op.stride] * 2}
    if op.kind == "max":
        return "MaxPool", {"pads": [op.kernel // 2] * 4, **sides}
    # Uncounted padding at the end replaces ceil_mode, in which runtimes differ.
    past = (op.out_size(in_size) - 1) * op.stride + op.kernel - in_size
    return "AveragePool", {"pads": [0, 0, past, past], "count_include_pad": 0, **sides}
