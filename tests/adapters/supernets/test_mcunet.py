"""The MCUNet supernet, against the lab's definitions."""

import re

import numpy as np
import pytest
import torch
from ofa.utils.layers import IdentityLayer

from deploy_nas.adapters import supernets
from deploy_nas.core.families.mobilenet_v2 import mcunet
from deploy_nas.core.spaces import get_space
from deploy_nas.search.efficiency import AnalyticalEfficiencyPredictor

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]

VWW = get_space("mcunet-vww")


def test_mcunets_state_dict_is_the_labs(vww):
    state = vww.state_dict()
    assert len(state) == 480
    assert sum(p.numel() for p in vww.parameters()) == 4_081_138
    expected = {
        "first_conv.conv.conv.weight": (32, 3, 3, 3),
        "first_conv.bn.bn.running_mean": (32,),
        "blocks.0.mobile_inverted_conv.point_linear.conv.conv.weight": (16, 32, 1, 1),
        "blocks.1.mobile_inverted_conv.inverted_bottleneck.conv.conv.weight": (96, 16, 1, 1),
        "blocks.1.mobile_inverted_conv.depth_conv.conv.conv.weight": (96, 1, 7, 7),
        "blocks.1.mobile_inverted_conv.depth_conv.conv.7to5_matrix": (25, 25),
        "blocks.1.mobile_inverted_conv.depth_conv.conv.5to3_matrix": (9, 9),
        "blocks.5.mobile_inverted_conv.depth_conv.se.fc.reduce.weight": (10, 240, 1, 1),
        "classifier.linear.linear.weight": (2, 384),
    }
    assert {key: tuple(state[key].shape) for key in expected} == expected
    assert not any(re.match(r"blocks\.0\..*(inverted_bottleneck|depth_conv)", key) for key in state)
    # the fourth block, first of the second stage, has none; the stages' first and last have none
    squeezed = sorted({int(k.split(".")[1]) for k in state if ".se." in k})
    assert squeezed == [*range(5, 8), *range(8, 20)]


def test_a_file_with_the_labs_names_loads(vww, tmp_path, randomise):
    torch.save({"state_dict": vww.state_dict()}, tmp_path / "vww_supernet.pth")
    other = randomise(supernets.build_supernet(VWW, seed=3))
    supernets.load_weights(other, VWW, tmp_path / "vww_supernet.pth")
    for key, value in vww.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(other.state_dict()[key], value), key


def test_figures_are_the_labs_definitions(vww):
    """Both counted on the modules as they run: every convolution's input and output, hooked."""
    predictor = AnalyticalEfficiencyPredictor(VWW)
    rng = np.random.default_rng(0)
    for architecture in [VWW.smallest(), VWW.largest(), *(VWW.sample(rng) for _ in range(3))]:
        taken = supernets.subnet(vww, architecture)
        seen = {}

        def record(module, inputs, output, seen=seen):
            seen[module] = (inputs[0].numel(), output.numel())

        for module in taken.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.register_forward_hook(record)
        side = architecture["image_size"]
        supernets.forward(taken, np.zeros((1, 3, side, side), np.float32))
        macs = sum(
            out * m.weight[0].numel() if isinstance(m, torch.nn.Conv2d) else m.weight.numel()
            for m, (_, out) in seen.items()
        )
        peak = max(sum(seen[m]) for m in (taken.first_conv.conv, taken.feature_mix_layer.conv))
        peak = max(peak, sum(seen[taken.classifier.linear]))
        for number, block in enumerate(taken.blocks):
            if number == 0:
                peak = max(peak, sum(seen[block.conv.conv]))
                continue
            expand, depthwise, project = (
                getattr(block.conv, name).conv
                for name in ("inverted_bottleneck", "depth_conv", "point_linear")
            )
            held = seen[expand][0] if isinstance(block.shortcut, IdentityLayer) else 0
            peak = max(peak, sum(seen[expand]), sum(seen[depthwise]) + held, sum(seen[project]))
        found = predictor.get_efficiency(architecture)
        assert found["millionMACs"] == pytest.approx(macs / 1e6, rel=1e-9)
        assert found["KBPeakMemory"] == peak / 1024


def test_the_sixth_depth_is_ignored_and_the_width_is_one_number(vww):
    architecture = VWW.sample(np.random.default_rng(0))
    assert isinstance(architecture["wid"], int)
    for sixth in (0, 1, 2):
        given = architecture | {"d": [*architecture["d"][:5], sixth]}
        assert VWW.decode(VWW.encode([given]))[0] == architecture
        supernets.activate(vww, given)
        assert vww.runtime_depth[5] == 1


def test_a_declaration_is_all_a_second_mcunet_takes():
    """Another width, depths and no squeeze: supernet, subnets and layers follow."""
    space = mcunet(
        id="other",
        summary="",
        base_widths=(32, 16, 24, 40, 80, 96, 192, 320, 1280),
        widths=(1.3,),
        base_depths=(2, 2, 2, 2, 2),
        depths=(2, 3, 4),
        image_sizes=(32,),
    )
    assert {key: len(columns) for key, columns in space.gene_columns.items()} == {"ks": 31, "e": 31, "d": 6}
    net = supernets.build_supernet(space)
    architecture = space.sample(np.random.default_rng(0))
    taken = supernets.subnet(net, architecture)
    layers = space.layers(architecture)
    assert sum(layer.params for _, layer in layers) == sum(p.numel() for p in taken.parameters())
    supernets.folded_weights(space, architecture, taken)
