"""Networks as serialised ONNX models: with weights to be shipped, with named weights to be timed."""

from __future__ import annotations

from collections.abc import Mapping

from deploy_nas.adapters.graphs.files import assemble
from deploy_nas.adapters.graphs.fp32 import emit_fp32
from deploy_nas.adapters.graphs.int8 import emit_int8
from deploy_nas.adapters.graphs.nodes import Weights
from deploy_nas.adapters.graphs.ranges import Ranges
from deploy_nas.core.precision import FP32, Scheme
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.core.walk import NamedLayers, weight_tensors


def build_model(
    layers: NamedLayers,
    weights: Weights | None,
    *,
    metadata: Mapping[str, object] | None = None,
    description: str = "",
    batch: int | None = 1,
    name: str = "subnet",
) -> bytes:
    """A network (or one layer) as a serialised ONNX model.

    Args:
        layers: places and their layers, in order.
        weights: float32 by name, as ``core.walk.weight_tensors`` lists them; ``None`` leaves the values out,
            for timing (a few kilobytes per network: the device generates values).
        metadata: each value is stored as JSON under its key.
        description: what the model is, for programs that show models.
        batch: fixed batch size, or ``None`` for a dynamic one named "batch".
        name: name of the graph.

    Raises:
        RecordError: a weight has the wrong shape.
    """
    made = emit_fp32(layers, weights, fixed_batch=batch is not None)
    return assemble(made, layers, metadata=metadata, description=description, batch=batch, name=name)


def build_int8(
    layers: NamedLayers,
    weights: Weights | None,
    ranges: Ranges | None,
    scheme: Scheme,
    *,
    metadata: Mapping[str, object] | None = None,
    description: str = "",
    batch: int | None = 1,
    name: str = "subnet",
) -> tuple[bytes, dict[str, TensorSpec]]:
    """A network (or one layer) in INT8 as a serialised ONNX model, and its tensors without values.

    Args:
        layers: places and their layers, in order.
        weights: float32, as ``core.walk.weight_tensors`` lists them; ``None`` leaves the values out, for
            timing.
        ranges: smallest and largest value of every tensor in ``range_tensors``; ``None`` for timing.
        scheme: number formats.
        metadata, description, batch, name: as for :func:`build_model`.

    Raises:
        OptionError: an operator has no INT8 form.
        RecordError: a weight has the wrong shape.
    """
    made = emit_int8(layers, weights, ranges, scheme)
    model = assemble(made, layers, metadata=metadata, description=description, batch=batch, name=name)
    return model, made.valueless


def timed_graph(
    layers: NamedLayers, precision: str, activations: str = "uint8"
) -> tuple[bytes, Mapping[str, TensorSpec]]:
    """The graph that is timed for these layers, and its tensors without values.

    Args:
        layers: places and their layers, in order.
        precision: "fp32" or "int8".
        activations: number format of INT8's activations, "uint8" or "int8".
    """
    if precision == FP32:
        return build_model(layers, None), weight_tensors(layers)
    return build_int8(layers, None, None, Scheme(activations="int8" if activations == "int8" else "uint8"))
