"""A subnet's weights under the graph's names, with batch norms folded."""

import numpy as np
import pytest
import torch

from deploy_nas.adapters import supernets
from deploy_nas.core.errors import WeightsError
from deploy_nas.core.spaces import get_space
from deploy_nas.core.walk import weight_shapes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]

SMALL = get_space("ofa-mbv3-cifar10")


def test_names_and_shapes_are_those_of_the_graph(small):
    architecture = SMALL.sample(np.random.default_rng(0))
    weights = supernets.folded_weights(SMALL, architecture, supernets.subnet(small, architecture))
    assert {name: value.shape for name, value in weights.items()} == weight_shapes(SMALL.layers(architecture))
    assert {value.dtype.name for value in weights.values()} == {"float32"}


def test_a_folded_convolution_computes_what_its_pair_does(small):
    """The stem's convolution and batch norm, before the activation."""
    architecture = SMALL.smallest()
    taken = supernets.subnet(small, architecture)
    weights = supernets.folded_weights(SMALL, architecture, taken)
    stem = taken.first_conv
    x = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pair = stem.bn(stem.conv(x))
    weight, bias = (torch.from_numpy(weights[f"stem/conv.{part}"]) for part in ("weight", "bias"))
    folded = torch.nn.functional.conv2d(x, weight, bias, stride=stem.conv.stride, padding=stem.conv.padding)
    torch.testing.assert_close(folded, pair, rtol=1e-4, atol=1e-4)


def test_folding_refuses_another_architecture(small):
    taken = supernets.subnet(small, SMALL.smallest())
    with pytest.raises(WeightsError, match="not of this architecture"):
        supernets.folded_weights(SMALL, SMALL.largest(), taken)


def test_modules_beyond_the_architecture_are_refused(small):
    taken = supernets.subnet(small, SMALL.smallest())
    taken.add_module("extra", torch.nn.Linear(2, 2))
    with pytest.raises(WeightsError, match="more modules than the architecture; extract it again"):
        supernets.folded_weights(SMALL, SMALL.smallest(), taken)
