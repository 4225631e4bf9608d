"""Float graphs: valid, repeatable, and fused as a whole as they are layer by layer."""

import logging
import re
from collections import Counter

import onnx
import onnxruntime
import pytest
from onnxruntime.tools.mobile_helpers import usability_checker

from deploy_nas.adapters import graphs
from deploy_nas.core.spaces import get_space, space_ids
from deploy_nas.device import releases

spelled = pytest.mark.skipif(
    releases.advice(onnxruntime.__version__) is not None,
    reason=f"files are not spelled for ONNX Runtime {onnxruntime.__version__}, which fuses less",
)


def fused(model, path):
    """Operators of the graph as onnxruntime runs it, without the layout changes between them.

    A shortcut's addition counts as one whether or not it was fused into the convolution before it:
    alone, a layer's input has another layout than that convolution, so it stays on its own there.
    """
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    counted = Counter()
    for node in onnx.load(path).graph.node:
        if "Reorder" in node.op_type:
            continue
        activation = next((a.s.decode() for a in node.attribute if a.name == "activation"), "")
        if node.op_type.endswith("Conv") and len(node.input) == 4:
            counted["Add", ""] += 1
        counted[node.op_type, activation] += 1
    return counted


@pytest.mark.parametrize("id", space_ids())
@pytest.mark.slow
def test_networks_and_single_layers_are_valid(id, network):
    layers, weights = network(get_space(id))
    graphs.check_model(graphs.build_model(layers, weights))
    graphs.check_model(graphs.build_model(layers, weights, batch=None))
    for named in layers[:4]:
        graphs.check_model(graphs.build_model([named], weights, batch=3))


def test_the_same_input_gives_the_same_bytes(network):
    models = []
    for seed in (0, 0, 1):
        layers, weights = network(seed=seed)
        models.append(graphs.build_model(layers, weights, metadata={"b": 1, "a": "ü"}))
    assert models[0] == models[1]
    assert models[0] != models[2]


def test_names_can_be_read(network):
    layers, weights = network()
    graph = onnx.load_from_string(graphs.build_model(layers, weights)).graph
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert {"stem/conv", "stage2.block1/se", "stage1.block2/add", "tail/classifier"} <= set(names)
    weights = [i.name for i in graph.initializer if not i.name.endswith((".scales", ".roi"))]
    assert weights == list(graphs.weight_shapes(layers))
    kinds = (
        "Conv",
        "HardSwish",
        "HardSigmoid",
        "Relu",
        "Mul",
        "Add",
        "GlobalAveragePool",
        "Flatten",
        "Resize",
    )
    assert {node.op_type for node in graph.node} == set(kinds)


@spelled
@pytest.mark.parametrize("batch", [1, None])
def test_the_whole_network_keeps_one_layout(tmp_path, batch, network):
    """With a fixed batch nothing between the first convolution and the logits is brought to another layout.

    Only on processors for which onnxruntime has a blocked layout; elsewhere there is none to leave.
    """
    layers, weights = network(get_space("ofa-mbv3-w1.0"), image_size=128)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "o.onnx"), 3
    model = graphs.build_model(layers, weights, batch=batch)
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "o.onnx").graph.node
    if not any("nchwc" in node.domain for node in nodes):
        pytest.skip("this processor has no blocked layout")
    counted = Counter(node.op_type for node in nodes if node.op_type.startswith(("Reorder", "Reshape")))
    squeezes = sum(op.role == "se" for _, layer in layers for op in layer.ops)
    if batch:
        assert counted == {"ReorderOutput": 1}
    else:  # each gate in another layout than its image, but no reshapes beside
        assert counted["ReorderInput"] <= squeezes + 2 and "Reshape" not in counted


@spelled
def test_the_whole_network_is_one_part_for_coreml(tmp_path, network, caplog):
    """But for the Flatten at its end; NNAPI has no HardSigmoid, whatever the spelling."""
    layers, weights = network(get_space("ofa-mbv3-w1.0"), image_size=128)
    path = tmp_path / "m.onnx"
    path.write_bytes(graphs.with_shapes(graphs.build_model(layers, weights)))
    caplog.set_level(logging.INFO)
    usability_checker.analyze_model(path, logger=logging.getLogger())
    (said,) = (text for text in caplog.messages if "can be handled by the CoreML MLProgram EP" in text)
    parts, inside, nodes = map(int, re.findall(r"\d+", said))
    assert parts == 1 and inside == nodes - 1


@spelled
def test_a_layer_alone_is_fused_as_in_its_network(tmp_path, network):
    """What is timed layer by layer is the work that the whole network does.

    But for the stem: onnxruntime fuses no hard swish whose result is the graph's output.
    """
    layers, weights = network(get_space("ofa-mbv3-w1.0"), image_size=128)
    layers = layers[1:]
    whole = fused(graphs.build_model(layers, weights), tmp_path / "whole.onnx")
    parts = Counter()
    for number, named in enumerate(layers):
        parts += fused(graphs.build_model([named], weights), tmp_path / f"{number}.onnx")
    assert whole == parts
    assert not {"HardSwish", "HardSigmoid", "Relu"} & {kind for kind, _ in whole}  # all in convolutions
