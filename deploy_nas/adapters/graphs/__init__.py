"""ONNX graphs from layers: one form of a network that is both timed and shipped.

``core.walk`` visits a network's operators; :mod:`.fp32` and :mod:`.int8` write the nodes of each,
:mod:`.files` makes, checks and reads model files, :mod:`.timed` has the graphs that profiles are timed on.
"""

from deploy_nas.adapters.graphs.files import (
    INPUT,
    OPSET,
    OUTPUT,
    Weights,
    check_model,
    graph_digest,
    input_of,
    read_metadata,
    read_weights,
    with_metadata,
    with_outputs,
    with_shapes,
)
from deploy_nas.adapters.graphs.fp32 import build_model
from deploy_nas.adapters.graphs.int8 import build_int8
from deploy_nas.adapters.graphs.ranges import Range, Ranges, float_layers, range_tensors
from deploy_nas.adapters.graphs.timed import graph_form, timed_graph
from deploy_nas.core.walk import NamedLayers, weight_shapes, weight_tensors

__all__ = [
    "INPUT",
    "NamedLayers",
    "OPSET",
    "OUTPUT",
    "Range",
    "Ranges",
    "Weights",
    "build_int8",
    "build_model",
    "check_model",
    "float_layers",
    "graph_digest",
    "graph_form",
    "input_of",
    "range_tensors",
    "read_metadata",
    "read_weights",
    "timed_graph",
    "weight_shapes",
    "weight_tensors",
    "with_metadata",
    "with_outputs",
    "with_shapes",
]
