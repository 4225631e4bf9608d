"""The EfficientNet-Lite supernet against the published module, and subnets against their graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from deploy_nas.adapters import graphs, supernets
from deploy_nas.adapters.supernets.efficientnet_lite import mean_relu6
from deploy_nas.core.errors import WeightsError
from deploy_nas.core.precision import Scheme
from deploy_nas.core.space import Space
from deploy_nas.core.spaces import get_space
from deploy_nas.device.session import open_session

published = pytest.importorskip("efficientnet_lite_pytorch", reason="not among the dev extras installed")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]

LITE0 = get_space("efficientnet-lite0")
IDS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")


def weights_of(space: Space) -> dict[str, torch.Tensor]:
    """The published state dict, or a skip."""
    path = space.default_weights.path
    if path is None:
        pytest.skip(f"{space.default_weights.distribution} is not installed")
    return torch.load(path, weights_only=True)


def original(space: Space, image_size: int) -> torch.nn.Module:
    """The published network at an image size, which its padding depends on."""
    net = published.EfficientNet.from_name(space.id, image_size=image_size)
    net.load_state_dict(weights_of(space))
    return net.eval()


def loaded(space: Space) -> torch.nn.Module:
    """The supernet with the published weights."""
    weights_of(space)
    net = supernets.build_supernet(space)
    assert (
        supernets.load_weights(net, space, space.default_weights.path).sha256 == space.default_weights.sha256
    )
    return net.eval()


def pictures(size: int, count: int = 1) -> np.ndarray:
    """Noise in the range of normalised pixels."""
    return np.random.default_rng(size).uniform(-1, 1, (count, 3, size, size)).astype(np.float32)


def int8_and_float(layers, weights, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of both graphs; the ranges are those of ``x`` itself."""
    tensors = graphs.range_tensors(layers)
    place, layer = layers[-1]
    last = f"{place}/{layer.ops[-1].role}"  # whose result has the output's name
    names = sorted(set(tensors.values()) - {last, graphs.INPUT})
    plain = open_session(graphs.with_outputs(graphs.build_model(layers, weights), names))
    expected, *values = plain.run({graphs.INPUT: x})
    seen = dict(zip(names, values, strict=True)) | {graphs.INPUT: x, last: expected}
    ranges = {name: (float(seen[t].min()), float(seen[t].max())) for name, t in tensors.items()}
    model, _ = graphs.build_int8(layers, weights, ranges, Scheme())
    return open_session(model).run({graphs.INPUT: x})[0], expected


@pytest.fixture(scope="module")
def lite0() -> torch.nn.Module:
    return loaded(LITE0)


@pytest.mark.parametrize("size", [96, 112, 128, 160, 192, 224])
def test_the_largest_is_the_published_network(lite0: torch.nn.Module, size: int) -> None:
    """Active in the supernet, taken out of it, and as a graph; at even and odd sides within."""
    x, architecture = pictures(size), LITE0.largest(size)
    expected = supernets.forward(original(LITE0, size), x)
    taken = supernets.subnet(lite0, architecture)
    weights = supernets.folded_weights(LITE0, architecture, taken)
    model = open_session(graphs.build_model(LITE0.layers(architecture), weights))
    for found in (
        supernets.forward(lite0, x),
        supernets.forward(taken, x),
        model.run({graphs.INPUT: x})[0],
    ):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("id", IDS[1:])
def test_larger_ones_are_published_too(id: str) -> None:
    space = get_space(id)
    net = loaded(space)
    for size in (128, space.image_sizes[-1]):
        x = pictures(size)
        supernets.activate(net, space.largest(size))
        np.testing.assert_allclose(
            supernets.forward(net, x), supernets.forward(original(space, size), x), atol=1e-4
        )


def test_tensorflows_padding_is_needed(lite0: torch.nn.Module) -> None:
    """With the other padding the outputs are others: the comparison above can tell."""
    x, taken = pictures(128), supernets.subnet(lite0, LITE0.largest(128))
    expected = supernets.forward(taken, x)
    taken.first_conv.conv.padding = (1, 1)
    taken.first_conv.conv.__class__ = torch.nn.Conv2d
    assert np.abs(supernets.forward(taken, x) - expected).max() > 0.1


def test_a_kernel_of_3_begins_as_the_middle_of_5(lite0: torch.nn.Module) -> None:
    depthwise = lite0.blocks[3].mobile_inverted_conv.depth_conv.conv
    assert depthwise.kernel_size_list == [3, 5]
    whole = depthwise.get_active_filter(144, 5)
    torch.testing.assert_close(depthwise.get_active_filter(144, 3), whole[:, :, 1:4, 1:4])


def test_mean_of_relu6() -> None:
    rng = np.random.default_rng(0)
    means, deviations = [-1.0, 0.0, 2.0, 5.0, 9.0, 3.0], [1.0, 2.0, 0.5, 2.0, 1.0, 0.0]
    found = mean_relu6(torch.tensor(means).double(), torch.tensor(deviations).double())
    for value, mean, deviation in zip(found.tolist(), means, deviations, strict=True):
        drawn = np.clip(rng.normal(mean, deviation, 200_000), 0, 6)
        assert value == pytest.approx(drawn.mean(), abs=0.01)


def test_channels_are_in_order_of_importance(lite0: torch.nn.Module) -> None:
    state = weights_of(LITE0)
    for number in range(1, len(lite0.blocks)):
        block = lite0.blocks[number].mobile_inverted_conv
        norm = block.depth_conv.bn.bn
        active = mean_relu6(norm.bias.double(), norm.weight.double().abs())
        importance = block.point_linear.conv.conv.weight.double().abs().sum(dim=(0, 2, 3)) * active
        assert (importance.diff() <= 0).all()
        theirs = state[f"_blocks.{number}._expand_conv.weight"].flatten(1)
        ours = block.inverted_bottleneck.conv.conv.weight.detach().flatten(1)
        assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, theirs.tolist()))


def test_the_last_blocks_of_a_stage_are_left_out_first(lite0: torch.nn.Module) -> None:
    shallow = LITE0.largest(96) | {"d": [1, 2, 2, 3, 1, 1]}
    kept = [1, 3, 4, 5, 6, 8, 9, 10, 11, 15]
    taken = supernets.subnet(lite0, shallow)
    projections = [block.conv.point_linear.conv.weight for block in taken.blocks[1:]]
    for number, weight in zip(kept, projections, strict=True):
        own = lite0.blocks[number].mobile_inverted_conv.point_linear.conv.conv.weight
        torch.testing.assert_close(weight, own)


@pytest.mark.parametrize("size", [32, 96, 112, 144])
def test_subnets_graphs_agree(lite0: torch.nn.Module, size: int) -> None:
    """At 112 and 144 px, sides within are odd (7, 9): the padding is even there."""
    rng, x = np.random.default_rng(size), pictures(size)
    space = replace(LITE0, image_sizes=(size,))
    for architecture in (space.smallest(), space.sample(rng)):
        taken = supernets.subnet(lite0, architecture)
        layers, weights = space.layers(architecture), supernets.folded_weights(space, architecture, taken)
        expected = supernets.forward(taken, x)
        supernets.activate(lite0, architecture)
        np.testing.assert_allclose(supernets.forward(lite0, x), expected, atol=1e-4)
        found = open_session(graphs.build_model(layers, weights)).run({graphs.INPUT: x})[0]
        np.testing.assert_allclose(found, expected, atol=1e-4 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize(("size", "place"), [(128, "stage2.block1"), (112, "stage5.block1")])
def test_int8_has_the_padding_too(lite0: torch.nn.Module, size: int, place: str) -> None:
    """A 5x5 block with stride 2, on an even side and on an odd one."""
    architecture = LITE0.largest(size)
    layer = dict(LITE0.layers(architecture))[place]
    assert layer.in_size % 2 == (size == 112)
    weights = supernets.folded_weights(LITE0, architecture, supernets.subnet(lite0, architecture))
    shape = (1, layer.in_channels, layer.in_size, layer.in_size)
    found, expected = int8_and_float(
        [(place, layer)], weights, np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    )
    # at every pixel: with another padding all of them, or those of the borders, would be others
    assert np.abs(found - expected).mean(axis=(0, 1)).max() < 0.2 * np.abs(expected).mean()


def test_int8_is_near_the_float_network(lite0: torch.nn.Module) -> None:
    architecture = LITE0.largest(128)
    weights = supernets.folded_weights(LITE0, architecture, supernets.subnet(lite0, architecture))
    found, expected = int8_and_float(LITE0.layers(architecture), weights, pictures(128))
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


def test_its_own_checkpoints_load_as_they_are(lite0: torch.nn.Module, tmp_path) -> None:
    supernets.save_weights(lite0, tmp_path / "net.safetensors")
    again = supernets.build_supernet(LITE0, seed=1)
    supernets.load_weights(again, LITE0, tmp_path / "net.safetensors")
    for name, value in lite0.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("_fc.bias"), r"'classifier\.linear\.linear\.bias' is missing"),
        (lambda s: s.pop("_blocks.2._bn1.weight"), r"blocks\.2\..*depth_conv\.bn\.bn\.weight' is missing"),
        (lambda s: s.update({"_blocks.1._project_conv.weight": torch.zeros(24, 8, 1, 1)}), "has shape"),
        (lambda s: s.update({"_blocks.1._se_reduce.weight": torch.zeros(4)}), r"'_blocks\.1\._se_reduce"),
        (lambda s: s.update({"_extra.weight": torch.zeros(4)}), r"'_extra\.weight' is not in that net"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_named(change, says: str, tmp_path) -> None:
    state = weights_of(LITE0)
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=rf"does not fit efficientnet-lite0: .*{says}"):
        supernets.load_weights(supernets.build_supernet(LITE0), LITE0, tmp_path / "w.pth")
