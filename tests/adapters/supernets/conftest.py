"""Supernets with random weights, and weights as published checkpoints name them."""

import pytest

from deploy_nas.core.spaces import get_space


@pytest.fixture(scope="session")
def small(randomise):
    """The embedded supernet."""
    from deploy_nas.adapters.supernets import build_supernet

    return randomise(build_supernet(get_space("ofa-mbv3-cifar10")))


@pytest.fixture(scope="session")
def big():
    """The published MobileNetV3 supernets by id."""
    from deploy_nas.adapters.supernets import build_supernet

    return {name: build_supernet(get_space(name)) for name in ("ofa-mbv3-w1.0", "ofa-mbv3-w1.2")}


@pytest.fixture(scope="session")
def vww(randomise):
    """The MCUNet supernet; with its initial weights, signals would fade to denormals, which are slow."""
    from deploy_nas.adapters.supernets import build_supernet

    return randomise(build_supernet(get_space("mcunet-vww")))
