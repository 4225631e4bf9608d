"""The form of timed graphs, on which shipped profiles depend; it is known without the onnx package."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import onnx
import pytest

from deploy_nas.adapters import graphs
from deploy_nas.core.spaces import get_space, space_ids

# Of the smallest network of each space in fp32 and INT8. They change only together with the profiles that
# ship, which were timed on graphs of this form.
FORMS = {
    "ofa-mbv3-cifar10": ("5f2edb29d7a8", "7dc93070bb20"),
    "ofa-mbv3-w1.0": ("8677cf8065e1", "b2364e569392"),
    "ofa-mbv3-w1.2": ("00b74137502f", "a3ad6f532de3"),
    "ofa-proxyless-w1.3": ("a752cb19a820", "e2534a4d5862"),
    "ofa-resnet50": ("2a5772464441", "3a3244101c9b"),
    "mcunet-vww": ("fc424c3ae8c3", "c799c9f263c0"),
    "efficientnet-lite0": ("094ce97dd7eb", "6e28faf1cf4c"),
    "efficientnet-lite1": ("094ce97dd7eb", "6e28faf1cf4c"),
    "efficientnet-lite2": ("73db3b2e6b13", "52ec9d5a5539"),
}


def form_in_file(data):
    """The form as it follows from the nodes of a written model."""
    graph = onnx.load_from_string(data).graph
    empty = {tensor.name for tensor in graph.initializer if 0 in tensor.dims}
    nodes = [
        [
            node.op_type,
            ["" if name in empty else name for name in node.input],
            list(node.output),
            sorted(f"{a.name}={onnx.helper.get_attribute_value(a)!r}" for a in node.attribute),
        ]
        for node in graph.node
    ]
    return hashlib.sha256(json.dumps(nodes).encode()).hexdigest()[:12]


@pytest.mark.parametrize("id", FORMS)
def test_the_form_of_graphs_stays(id):
    space = get_space(id)
    layers = space.layers(space.smallest())
    assert tuple(graphs.graph_form(layers, precision) for precision in ("fp32", "int8")) == FORMS[id]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("id", space_ids())
def test_the_form_is_that_of_the_written_file(id, precision):
    space = get_space(id)
    layers = space.layers(space.smallest())
    written, _ = graphs.timed_graph(layers, precision)
    assert graphs.graph_form(layers, precision) == form_in_file(written)


def test_the_form_depends_on_nodes_and_attributes(network):
    layers, _ = network()
    other = layers[2:4]
    forms = {
        graphs.graph_form(given, precision) for given in (layers, other) for precision in ("fp32", "int8")
    }
    assert len(forms) == 4


def test_the_form_is_known_without_onnx():
    program = (
        "import sys\n"
        "from deploy_nas.adapters.graphs.form import graph_form\n"
        "from deploy_nas.core.spaces import get_space\n"
        "space = get_space('ofa-mbv3-cifar10')\n"
        "forms = [graph_form(space.layers(space.smallest()), p) for p in ('fp32', 'int8')]\n"
        "assert 'onnx' not in sys.modules and 'torch' not in sys.modules\n"
        "print(*forms)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tuple(done.stdout.split()) == FORMS["ofa-mbv3-cifar10"]


def test_profiles_of_another_form_are_found(made_profile):
    profile = made_profile()
    space = profile.space
    form = graphs.graph_form(space.layers(space.smallest(min(profile.image_sizes))), "fp32")

    def with_form(value):
        return replace(profile, fingerprint=replace(profile.fingerprint, graphs=value))

    assert graphs.changed_graphs(with_form(None)) is None
    assert graphs.changed_graphs(with_form(form)) is None
    difference = graphs.changed_graphs(with_form("0" * 12))
    assert difference.name == "graphs"
    assert str(difference).startswith("graphs: profiled as another deploy-nas writes them")
