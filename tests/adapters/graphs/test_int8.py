"""INT8 graphs: valid, quantised from end to end, close to the float network, and chosen for a processor."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from deploy_nas.adapters import graphs
from deploy_nas.core.errors import OptionError
from deploy_nas.core.layers import Conv, Layer
from deploy_nas.core.precision import Scheme
from deploy_nas.core.spaces import get_space, space_ids
from deploy_nas.device.initializers import random_initializers
from deploy_nas.device.session import open_session

pytestmark = pytest.mark.slow


def flat_ranges(layers, span=4.0):
    return dict.fromkeys(graphs.range_tensors(layers), (-span, span))


def optimized(model, path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(path), 3
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return onnx.load(path).graph


@pytest.mark.parametrize("id", space_ids())
@pytest.mark.parametrize("activations", ["uint8", "int8"])
def test_networks_and_single_layers_are_valid(id, activations, network):
    layers, weights = network(get_space(id))
    scheme = Scheme(activations=activations)
    graphs.check_model(graphs.build_int8(layers, weights, flat_ranges(layers), scheme)[0])
    graphs.check_model(graphs.build_int8(layers, weights, flat_ranges(layers), scheme, batch=None)[0])
    for named in layers[:4]:
        graphs.check_model(graphs.build_int8([named], weights, flat_ranges([named]), scheme)[0])


@pytest.mark.parametrize("id", ["ofa-resnet50", "mcunet-vww"])
def test_poolings_and_shortcuts_give_what_the_float_network_gives(id):
    space = get_space(id)
    rng = np.random.default_rng(0)
    layers = space.layers({**space.sample(rng), "image_size": min(space.image_sizes)})
    weights = random_initializers(graphs.weight_tensors(layers), rng)
    x = rng.standard_normal((1, 3, layers[0][1].in_size, layers[0][1].in_size), dtype=np.float32)
    tensors = graphs.range_tensors(layers)
    plain = graphs.build_model(layers, weights)
    values = open_session(graphs.with_outputs(plain, sorted(set(tensors.values())))).run({"image": x})
    seen = dict(zip(sorted(set(tensors.values())), values[1:], strict=True))
    ranges = {name: (float(seen[t].min()), float(seen[t].max())) for name, t in tensors.items()}
    model, _ = graphs.build_int8(layers, weights, ranges, Scheme())
    found = open_session(model).run({"image": x})[0]
    assert np.corrcoef(found.ravel(), values[0].ravel())[0, 1] > 0.9 or found.size < 3
    assert np.abs(found - values[0]).max() < 0.5 * np.abs(values[0]).max()


def test_everything_but_the_head_runs_quantised(tmp_path, network):
    """No activation, gate or pool of the INT8 part is left between a dequantise and a quantise."""
    layers, weights = network()
    model, _ = graphs.build_int8(layers, weights, flat_ranges(layers), Scheme())
    counted = Counter(node.op_type for node in optimized(model, tmp_path / "o.onnx").node)
    head = graphs.float_layers(layers)
    assert head == 2
    floats = sum(len(layer.convs) for _, layer in layers[:head])
    assert counted["Conv"] == floats
    for kind in ("HardSigmoid", "HardSwish", "Relu", "Mul", "Gemm", "GlobalAveragePool", "DequantizeLinear"):
        assert counted[kind] == 0, kind
    assert counted["QuantizeLinear"] == 1 and counted["QGemm"] == 1


def test_hard_swish_is_exact_on_the_bytes_it_reads():
    """The gate is a Clip of bytes: no error beyond the rounding of what goes in and comes out."""
    op = Conv(role="c", in_channels=8, out_channels=8, norm=False, activation="hard_swish")
    layers = [("a", Layer(kind="mbconv", in_channels=8, in_size=32, ops=(op,)))]
    weights = {"a/c.weight": np.eye(8, dtype=np.float32).reshape(8, 8, 1, 1)}
    x = np.linspace(-8, 8, 8 * 32 * 32, dtype=np.float32).reshape(1, 8, 32, 32)
    ranges = {"image": (-8.0, 8.0), "a/c": (-0.375, 8.0)}
    model, _ = graphs.build_int8(layers, weights, ranges, Scheme())
    found = open_session(model).run({"image": x})[0]
    expected = x * np.clip(x + 3, 0, 6) / 6
    step_in, step_mid, step_out = 16 / 255, 3 / int(3 * 255 / 11), 8.375 / 255
    assert np.abs(found - expected).max() < 1.1 * (1.5 * (step_in + step_mid) / 2 + step_out / 2 + 8 / 254)
    assert np.abs(found[x < -3.2]).max() == 0.0


def test_the_same_input_gives_the_same_bytes(network):
    layers, weights = network()
    made = [graphs.build_int8(layers, weights, flat_ranges(layers, s), Scheme())[0] for s in (4, 4, 5)]
    assert made[0] == made[1] != made[2]


def test_seven_bits_are_kept_to(network):
    layers, weights = network()
    model, _ = graphs.build_int8(layers, weights, flat_ranges(layers), Scheme(weight_bits=7))
    held = onnx.load_from_string(model).graph.initializer
    most = max(np.abs(onnx.numpy_helper.to_array(t)).max() for t in held if t.name.endswith("_int8"))
    assert most == 63


def test_an_operator_without_an_int8_form_is_refused():
    op = Conv(role="c", in_channels=16, out_channels=16, activation="gelu")
    layers = [("a", Layer(kind="mbconv", in_channels=16, in_size=8, ops=(op,)))]
    with pytest.raises(OptionError, match="no INT8 form"):
        graphs.build_int8(layers, None, None, Scheme())


def test_the_bias_of_a_channel_without_weights_is_kept(network):
    """Batch norm may leave a channel nothing but its shift, which 32 bits of the usual step cannot hold."""
    layers = network()[0]
    name, layer = layers[graphs.float_layers(layers)]
    weights = random_initializers(graphs.weight_tensors([(name, layer)]), np.random.default_rng(0))
    place = f"{name}/{layer.ops[0].role}"
    weights[f"{place}.weight"][0] = 0.0
    weights[f"{place}.bias"][0] = 1.0
    model = onnx.load_from_string(
        graphs.build_int8([(name, layer)], weights, flat_ranges([(name, layer)]), Scheme())[0]
    )
    held = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    stored = held[f"{place}.bias_int32"][0] * float(held[f"{place}.bias_scale"][0])
    assert stored == pytest.approx(1.0, rel=1e-3)
