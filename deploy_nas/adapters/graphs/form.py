"""The form of timed graphs, and a check that a profile was timed on graphs of this form.

Nothing here loads onnx: a search checks every profile it reads.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

from deploy_nas.adapters.graphs.fp32 import emit_fp32
from deploy_nas.adapters.graphs.int8 import emit_int8
from deploy_nas.adapters.graphs.nodes import OUTPUT, Attribute
from deploy_nas.core.fingerprint import Difference
from deploy_nas.core.precision import FP32, Scheme
from deploy_nas.core.walk import NamedLayers
from deploy_nas.records.profile import Profile


def graph_form(layers: NamedLayers, precision: str) -> str:
    """Digest (12 hex digits) of the timed graph's form: its nodes, connections and attributes.

    It changes when deploy-nas builds the graph differently, and does not depend on the version of onnx that
    writes the file. An empty tensor counts as none: runtimes compute the same either way.

    Args:
        layers: places and their layers, in order.
        precision: "fp32" or "int8".
    """
    made = emit_fp32(layers, None) if precision == FP32 else emit_int8(layers, None, None, Scheme())
    empty = {one.name for one in made.initializers if 0 in one.shape}
    nodes = [
        [
            node.kind,
            ["" if name in empty else name for name in node.inputs],
            [node.output],
            sorted(f"{name}={_as_onnx(value)!r}" for name, value in node.attributes.items()),
        ]
        for node in made.ending_in(OUTPUT)
    ]
    return hashlib.sha256(json.dumps(nodes).encode()).hexdigest()[:12]


def changed_graphs(profile: Profile) -> Difference | None:
    """The difference between the profiled graphs and those of this deploy-nas, or ``None``."""
    then = profile.fingerprint.graphs
    if then is None:  # profiles of earlier versions do not record it
        return None
    layers = profile.space.layers(profile.space.smallest(min(profile.image_sizes)))
    if then == graph_form(layers, profile.fingerprint.precision):
        return None
    sentence = "graphs: profiled as another deploy-nas writes them, and this one's have other latencies"
    return Difference(name="graphs", sentence=sentence)


def _as_onnx(value: Attribute) -> Attribute | bytes:
    """A value as an ONNX file stores it: floats in 32 bits, strings as bytes."""
    if isinstance(value, float):
        return float(np.float32(value))
    return value.encode() if isinstance(value, str) else value
