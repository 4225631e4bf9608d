"""The graphs that profiles are timed on: weights only named, the device makes their values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import onnx
from onnx import helper

from deploy_nas.adapters.graphs.fp32 import build_model
from deploy_nas.adapters.graphs.int8 import build_int8
from deploy_nas.core.precision import FP32, Scheme
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.core.walk import NamedLayers, weight_tensors


def timed_graph(
    layers: NamedLayers, precision: str, activations: str = "uint8"
) -> tuple[bytes, Mapping[str, TensorSpec]]:
    """The graph that is timed for these layers, and the tensors it only names.

    Args:
        layers: places and layers in order.
        precision: "fp32" or "int8".
        activations: number format of INT8's activations, "uint8" or "int8".
    """
    if precision == FP32:
        return build_model(layers, None), weight_tensors(layers)
    return build_int8(layers, None, None, Scheme(activations="int8" if activations == "int8" else "uint8"))


def graph_form(layers: NamedLayers, precision: str) -> str:
    """Digest, 12 hex digits, of the timed graph's form: its nodes, links and attributes.

    It changes when deploy-nas writes the graph in another way, and stays the same whatever version of onnx
    writes the file. Arguments as of :func:`timed_graph`.
    """
    graph = onnx.load_from_string(timed_graph(layers, precision)[0]).graph
    nodes = [
        [
            node.op_type,
            list(node.input),
            list(node.output),
            sorted(f"{a.name}={helper.get_attribute_value(a)!r}" for a in node.attribute),
        ]
        for node in graph.node
    ]
    return hashlib.sha256(json.dumps(nodes).encode()).hexdigest()[:12]
