"""The supernets of ofa's families, against ofa's own counters and networks."""

import numpy as np
import pytest
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
from ofa.nas.efficiency_predictor import Mbv3FLOPsModel, ProxylessNASFLOPsModel, ResNet50FLOPsModel

from deploy_nas.adapters import supernets
from deploy_nas.adapters.supernets.families import FAMILIES
from deploy_nas.core.spaces import get_space, space_ids
from deploy_nas.search.efficiency import AnalyticalEfficiencyPredictor

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]

SMALL = get_space("ofa-mbv3-cifar10")


def test_every_space_names_a_family_and_every_family_has_a_space():
    assert {get_space(name).supernet["class"] for name in space_ids()} == set(FAMILIES)


@pytest.mark.parametrize("id", ["ofa-mbv3-w1.0", "ofa-mbv3-w1.2"])
def test_macs_of_mobilenet_v3_agree_with_ofas_counter(big, id):
    space, counter = get_space(id), Mbv3FLOPsModel(big[id])
    rng = np.random.default_rng(0)
    for _ in range(50):
        architecture = space.sample(rng)
        ours = sum(layer.macs for _, layer in space.layers(architecture)) / 1e6
        assert ours == pytest.approx(counter.get_efficiency(architecture), rel=1e-3)


@pytest.mark.parametrize(
    ("id", "counter"),
    [("ofa-proxyless-w1.3", ProxylessNASFLOPsModel), ("ofa-resnet50", ResNet50FLOPsModel)],
)
def test_macs_agree_with_ofas_counter(id, counter):
    space = get_space(id)
    theirs = counter(supernets.build_supernet(space))
    ours = AnalyticalEfficiencyPredictor(space)
    rng = np.random.default_rng(0)
    for _ in range(20):
        architecture = space.sample(rng)
        expected = theirs.get_efficiency(architecture)
        assert ours.get_efficiency(architecture)["millionMACs"] == pytest.approx(expected, rel=1e-3)


def test_the_strides_of_ofa_are_those_of_its_spaces(big):
    """build_supernet must change nothing where the space has OFA's own strides."""
    own = OFAMobileNetV3(width_mult=1.2, ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4])
    ours = big["ofa-mbv3-w1.2"]
    assert {k: v.shape for k, v in own.state_dict().items()} == {
        k: v.shape for k, v in ours.state_dict().items()
    }
    chosen = get_space("ofa-mbv3-w1.2").largest(128)
    own.set_active_subnet(**chosen)
    supernets.activate(ours, chosen)
    ours_config, own_config = ours.get_active_net_config(), own.get_active_net_config()
    del ours_config["classifier"], own_config["classifier"]  # dropout
    assert ours_config == own_config


def test_each_layers_sizes_are_the_subnets_own(small):
    architecture = SMALL.sample(np.random.default_rng(2))
    taken = supernets.subnet(small, architecture)
    sizes = []
    blocks = [taken.first_conv, *taken.blocks, taken.classifier]
    for module in blocks:
        module.register_forward_hook(lambda _, inputs, output: sizes.append(tuple(output.shape[1:])))
    supernets.forward(
        taken, np.zeros((1, 3, architecture["image_size"], architecture["image_size"]), np.float32)
    )
    layers = [layer for _, layer in SMALL.layers(architecture)]
    assert sizes[:-1] == [(layer.out_channels, layer.out_size, layer.out_size) for layer in layers[:-1]]
    assert sizes[-1] == (layers[-1].out_channels,)
    identity = [block.shortcut is not None for block in taken.blocks]
    assert identity == [layer.residual for layer in layers[1:-1]]


def test_depths_that_ofa_ignores_are_not_encoded():
    proxyless, resnet = get_space("ofa-proxyless-w1.3"), get_space("ofa-resnet50")
    assert proxyless.encode([proxyless.smallest() | {"d": [2, 2, 2, 2, 2, 4]}])[0][-1] == 0
    skipped = resnet.smallest() | {"d": [1, 0, 0, 0, 0]}
    assert resnet.decode(resnet.encode([skipped]))[0]["d"][0] == 0
