"""Which tensors INT8 needs ranges of, against the graphs themselves."""

import onnx
import pytest

from deploy_nas.adapters import graphs
from deploy_nas.core.precision import Scheme
from deploy_nas.core.spaces import get_space, space_ids


class Asked(dict):
    """Ranges that note what they are asked for."""

    def __missing__(self, name):
        self[name] = (-4.0, 4.0)
        return self[name]


@pytest.mark.parametrize("id", space_ids())
def test_ranges_are_those_that_the_int8_graph_asks_for(network, id):
    layers, _ = network(get_space(id))
    asked = Asked()
    graphs.build_int8(layers, None, asked, Scheme())
    tensors = graphs.range_tensors(layers)
    assert tensors.keys() == asked.keys()
    nodes = onnx.load_from_string(graphs.build_model(layers, None)).graph.node
    assert set(tensors.values()) <= {node.output[0] for node in nodes}


def test_a_layer_alone_takes_the_range_of_the_image(network):
    layers, _ = network()
    assert graphs.float_layers(layers) == 2 and graphs.float_layers(layers[2:3]) == 0
    tensors = graphs.range_tensors(layers[2:3])
    assert next(iter(tensors.items())) == (graphs.INPUT, graphs.INPUT)
