"""A random network and random weights for it."""

import numpy as np
import pytest

from deploy_nas.adapters import graphs
from deploy_nas.core.spaces import get_space
from deploy_nas.device.initializers import random_initializers


@pytest.fixture(scope="session")
def network():
    """``make(space=..., seed=0, image_size=None)``: named layers, and weights by name."""

    def make(space=None, seed=0, image_size=None):
        space = space or get_space("ofa-mbv3-cifar10")
        architecture = space.sample(np.random.default_rng(seed))
        layers = space.layers(architecture | ({"image_size": image_size} if image_size else {}))
        return layers, random_initializers(graphs.weight_tensors(layers), np.random.default_rng(seed))

    return make
