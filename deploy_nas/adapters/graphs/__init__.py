"""ONNX graphs from layers: a network is timed in the same form in which it is shipped.

``core.walk`` visits a network's operators. :mod:`.fp32` and :mod:`.int8` emit the nodes of each,
:mod:`.build` makes models from them, :mod:`.files` checks, reads and changes model files, :mod:`.bounds`
refuses those that may run without end, and :mod:`.form` identifies the form of the graphs that profiles are
timed on. onnx is loaded when a file is written or read.
"""

from deploy_nas.adapters.graphs.bounds import check_bounded
from deploy_nas.adapters.graphs.build import build_int8, build_model, timed_graph
from deploy_nas.adapters.graphs.files import (
    OPSET,
    Inspected,
    check_model,
    inspect_model,
    read_weights,
    with_metadata,
    with_outputs,
    with_shapes,
)
from deploy_nas.adapters.graphs.form import changed_graphs, graph_form
from deploy_nas.adapters.graphs.nodes import INPUT, OUTPUT, Weights
from deploy_nas.adapters.graphs.ranges import Range, Ranges, float_layers, range_tensors
from deploy_nas.core.walk import NamedLayers, weight_shapes, weight_tensors

__all__ = [
    "INPUT",
    "NamedLayers",
    "OPSET",
    "OUTPUT",
    "Inspected",
    "Range",
    "Ranges",
    "Weights",
    "build_int8",
    "build_model",
    "changed_graphs",
    "check_bounded",
    "check_model",
    "float_layers",
    "graph_form",
    "inspect_model",
    "range_tensors",
    "read_weights",
    "timed_graph",
    "weight_shapes",
    "weight_tensors",
    "with_metadata",
    "with_outputs",
    "with_shapes",
]
