"""Multilayer perceptrons as ONNX files: written, read, and evaluated with numpy alone.

An :class:`MLP` is an ensemble of one or more members of the same shape. Its graph runs in any ONNX runtime:
input ``features`` float32 ``[batch, f]``, outputs ``value`` (the members' mean) and ``spread`` (their
standard deviation), each ``[batch, 1]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import parse_json
from deploy_nas.core.floats import usual_floats
from deploy_nas.core.reader import json_text
from deploy_nas.core.seals import DIGEST
from deploy_nas.core.version import __version__
from deploy_nas.records.onnx_file import read_onnx, sealed_onnx

OPSET = 17
IR_VERSION = 9
_CHUNK = 4096
_DESCRIPTION = (
    "Accuracy predictor. Input: float32 [batch, columns], which the metadata names. "
    "Outputs: the members' mean and their standard deviation."
)

Float32Array = NDArray[np.float32]
Dense = tuple[Float32Array, Float32Array]


@dataclass(frozen=True, kw_only=True, slots=True)
class MLP:
    """An ensemble; a member is a chain of dense layers ``(weight [in, out], bias [out])``, ReLU between."""

    members: tuple[tuple[Dense, ...], ...]

    @property
    def features(self) -> int:
        """Number of input features."""
        return int(self.members[0][0][0].shape[0])

    @usual_floats()
    def run(self, features: Float32Array) -> Float32Array:
        """Evaluate every member on float32 ``[n, features]``; returns float32 ``[n, members]``."""
        result = np.empty((len(features), len(self.members)), dtype=np.float32)
        for start in range(0, len(features), _CHUNK):
            chunk = features[start : start + _CHUNK]
            for number, layers in enumerate(self.members):
                x = chunk
                for weight, bias in layers[:-1]:
                    x = x @ weight
                    x += bias
                    np.maximum(x, 0.0, out=x)
                weight, bias = layers[-1]
                result[start : start + _CHUNK, number] = (x @ weight + bias)[:, 0]
        return result


def write_mlp(mlp: MLP, metadata: Mapping[str, Any]) -> bytes:
    """The ensemble as a serialised ONNX model; each value of ``metadata`` is stored as JSON under its key."""
    from onnx import TensorProto, helper, numpy_helper  # reading and evaluating work without onnx

    nodes: list[Any] = []
    tensors: list[Any] = []
    for number, layers in enumerate(mlp.members):
        x = "features"
        for depth, (weight, bias) in enumerate(layers):
            name = f"member{number}/layer{depth}"
            for part, value in (("weight", weight), ("bias", bias)):
                array = np.ascontiguousarray(value, dtype=np.float32)
                tensors.append(numpy_helper.from_array(array, f"{name}.{part}"))
            nodes.append(helper.make_node("Gemm", [x, f"{name}.weight", f"{name}.bias"], [name], name=name))
            x = name
            if depth < len(layers) - 1:
                nodes.append(helper.make_node("Relu", [x], [f"{name}.relu"], name=f"{name}.relu"))
                x = f"{name}.relu"
    last = [f"member{n}/layer{len(layers) - 1}" for n, layers in enumerate(mlp.members)]
    nodes += [
        helper.make_node("Concat", last, ["values"], axis=1),
        helper.make_node("ReduceMean", ["values"], ["value"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["values", "value"], ["deviations"]),
        helper.make_node("Mul", ["deviations", "deviations"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["variance"], axes=[1], keepdims=1),
        helper.make_node("Sqrt", ["variance"], ["spread"]),
    ]
    features, value, spread = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
        for name, width in (("features", mlp.features), ("value", 1), ("spread", 1))
    )
    graph = helper.make_graph(nodes, "mlp", [features], [value, spread], tensors)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(
        graph,
        opset_imports=[opset],
        ir_version=IR_VERSION,
        producer_name="deploy-nas",
        producer_version=__version__,
        doc_string=_DESCRIPTION,
    )
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json_text(value)
    return sealed_onnx(model.SerializeToString(deterministic=True))


def read_mlp(data: bytes, subject: str) -> tuple[MLP, dict[str, object]]:
    """Read an ensemble of :func:`write_mlp`, and its metadata; other files raise :class:`RecordError`."""
    held = read_onnx(data, subject)
    tensors = held.tensors
    try:
        metadata = {k: parse_json(value.encode()) for k, value in held.metadata.items() if k != DIGEST}
    except ValueError as error:
        raise RecordError("holds metadata that is not JSON", subject=subject) from error
    members: list[tuple[Dense, ...]] = []
    while f"member{len(members)}/layer0.weight" in tensors:
        layers: list[Dense] = []
        while (name := f"member{len(members)}/layer{len(layers)}") + ".weight" in tensors:
            weight, bias = (tensors.get(f"{name}.{part}", np.empty(0)) for part in ("weight", "bias"))
            for tensor in (weight, bias):
                if tensor.dtype != np.float32 or not np.isfinite(tensor.astype(np.float64)).all():
                    what = f"layer {len(layers)} does not hold finite float32 numbers"
                    raise RecordError(what, subject=subject)
            layers.append((weight.astype(np.float32), bias.astype(np.float32)))
        members.append(tuple(layers))
    if not members or 2 * sum(map(len, members)) != len(tensors):
        raise RecordError("is an ONNX file, but not a perceptron", subject=subject)
    for layers in map(list, members):
        if any(weight.ndim != 2 for weight, _ in layers):
            raise RecordError("is an ONNX file, but not a perceptron", subject=subject)
        widths = [layers[0][0].shape[0], *(weight.shape[-1] for weight, _ in layers)]
        for depth, (weight, bias) in enumerate(layers):
            if weight.shape != (widths[depth], widths[depth + 1]) or bias.shape != (widths[depth + 1],):
                raise RecordError(
                    f"layer {depth} has shape {weight.shape}, which does not fit", subject=subject
                )
        if widths[-1] != 1 or widths[0] != members[0][0][0].shape[0]:
            raise RecordError("its members must have the same inputs and one output", subject=subject)
    return MLP(members=tuple(members)), metadata
