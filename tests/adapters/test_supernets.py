"""The supernets against ofa itself: figures, weights, statistics; and files that must be refused."""

import pickle
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics
from ofa.nas.efficiency_predictor import Mbv3FLOPsModel

from deploy_nas.adapters import supernets
from deploy_nas.adapters.supernets.checkpoints import canonical_key
from deploy_nas.core.errors import ImagesError, OutputError, WeightsError
from deploy_nas.core.spaces import get_space

pytestmark = pytest.mark.slow

SMALL = get_space("ofa-mbv3-cifar10")


@pytest.fixture(scope="module")
def small(randomise):
    return randomise(supernets.build_supernet(SMALL))


@pytest.fixture(scope="module")
def big():
    return {name: supernets.build_supernet(get_space(name)) for name in ("ofa-mbv3-w1.0", "ofa-mbv3-w1.2")}


def published(net, container=True):
    """The net's weights as OFA's published checkpoints spell them."""
    state = {k.replace(".conv.", ".mobile_inverted_conv.", 1) if k.startswith("blocks.") else k: v
             for k, v in net.state_dict().items()}  # fmt: skip
    return {"state_dict": state} if container else state


# -- figures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["ofa-mbv3-w1.0", "ofa-mbv3-w1.2"])
def test_macs_agree_with_ofa(big, id):
    space, counter = get_space(id), Mbv3FLOPsModel(big[id])
    rng = np.random.default_rng(0)
    for _ in range(50):
        architecture = space.sample(rng)
        ours = sum(layer.macs for _, layer in space.layers(architecture)) / 1e6
        assert ours == pytest.approx(counter.get_efficiency(architecture), rel=1e-3)


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


# -- building -----------------------------------------------------------------------------------


def test_a_seed_is_a_net_and_the_callers_generators_are_left_alone():
    torch.manual_seed(5)
    random.seed(5)
    before = torch.get_rng_state(), random.getstate()
    first, again, other = (supernets.build_supernet(SMALL, seed=s) for s in (1, 1, 2))
    supernets.subnet(first, SMALL.smallest())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    weights = [dict(net.named_parameters())["classifier.linear.weight"] for net in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_absent_blocks_may_be_zero(small):
    architecture = SMALL.smallest()
    written = {**architecture, "ks": [k if i % 4 < 2 else 0 for i, k in enumerate(architecture["ks"])]}
    x = np.random.default_rng(0).standard_normal((1, 3, 24, 24)).astype(np.float32)
    outputs = [supernets.forward(supernets.subnet(small, a), x) for a in (architecture, written)]
    np.testing.assert_array_equal(*outputs)


def test_folding_refuses_another_architecture(small):
    taken = supernets.subnet(small, SMALL.smallest())
    with pytest.raises(WeightsError, match="not of this architecture"):
        supernets.folded_weights(SMALL, SMALL.largest(), taken)


# -- recalibration ------------------------------------------------------------------------------


def test_recalibration_agrees_with_ofa(small):
    architecture = SMALL.sample(np.random.default_rng(3))
    size = architecture["image_size"]
    rng = np.random.default_rng(4)
    batches = [rng.standard_normal((n, 3, size, size)).astype(np.float32) for n in (9, 4)]
    before = {k: v.clone() for k, v in small.state_dict().items()}
    theirs, ours = supernets.subnet(small, architecture), supernets.subnet(small, architecture)
    set_running_statistics(theirs, [(torch.from_numpy(b), None) for b in batches])
    assert supernets.recalibrate(ours, iter(batches)) == 13
    for (name, want), got in zip(theirs.state_dict().items(), ours.state_dict().values(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5, msg=name)
    assert all(torch.equal(v, before[k]) for k, v in small.state_dict().items())
    fresh = supernets.forward(ours, batches[0])
    np.testing.assert_allclose(fresh, supernets.forward(theirs, batches[0]), atol=1e-3)
    assert not np.allclose(
        fresh, supernets.forward(supernets.subnet(small, architecture), batches[0]), atol=1e-2
    )


def test_recalibration_needs_images_and_leaves_the_net_as_it_was(small):
    taken = supernets.subnet(small, SMALL.smallest())
    before = {k: v.clone() for k, v in taken.state_dict().items()}
    with pytest.raises(ImagesError, match="no images"):
        supernets.recalibrate(taken, [])

    def breaking():
        yield np.zeros((2, 3, 24, 24), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supernets.recalibrate(taken, breaking())
    assert all(torch.equal(v, before[k]) for k, v in taken.state_dict().items())


# -- files --------------------------------------------------------------------------------------


def same_weights(a, b):
    theirs = b.state_dict()
    return all(torch.equal(v, theirs[k]) for k, v in a.state_dict().items() if not k.endswith("tracked"))


@pytest.mark.parametrize("container", [True, False])
@pytest.mark.parametrize("names", ["published", "own"])
def test_checkpoints_load(tmp_path, small, names, container):
    path = tmp_path / "net"
    state = published(small, False) if names == "published" else dict(small.state_dict())
    assert any(".mobile_inverted_conv." in k for k in state) == (names == "published")
    state = {k: v for k, v in state.items() if names == "own" or not k.endswith("num_batches_tracked")}
    torch.save({"state_dict": state, "epoch": 3} if container else state, path)
    net = supernets.build_supernet(SMALL, seed=9)
    assert supernets.load_weights(net, SMALL, path) == supernets.weights_hash(path)
    assert same_weights(net, small)


@pytest.mark.parametrize("id", ["ofa-mbv3-w1.0", "ofa-mbv3-w1.2"])
def test_published_checkpoints_load_as_ofa_loads_them(tmp_path, big, id):
    """In the old file format the published files have."""
    net = big[id]
    torch.save(published(net), tmp_path / "net", _use_new_zipfile_serialization=False)
    ours = supernets.build_supernet(get_space(id), seed=9)
    supernets.load_weights(ours, get_space(id), tmp_path / "net")
    theirs = supernets.build_supernet(get_space(id), seed=8)
    theirs.load_state_dict(published(net)["state_dict"])
    assert same_weights(ours, theirs)
    assert same_weights(ours, net)


def test_module_names_of_mcunet_are_made_canonical():
    found = {canonical_key(k) for k in ("first_conv.conv.conv.weight", "first_conv.bn.bn.running_mean")}
    assert found == {"first_conv.conv.weight", "first_conv.bn.running_mean"}


def test_safetensors_round_trip_and_half(tmp_path, small):
    full, half, again = (tmp_path / f"{n}.safetensors" for n in ("full", "half", "again"))
    supernets.save_weights(small, full)
    supernets.save_weights(small, half, half=True)
    supernets.save_weights(small, again)
    assert full.read_bytes() == again.read_bytes()
    assert half.stat().st_size < 0.62 * full.stat().st_size
    net = supernets.build_supernet(SMALL, seed=9)
    supernets.load_weights(net, SMALL, full)
    assert same_weights(net, small)
    supernets.load_weights(net, SMALL, half)
    for (name, got), want in zip(net.state_dict().items(), small.state_dict().values(), strict=True):
        if not name.endswith("tracked"):
            assert got.dtype == torch.float32
            torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)
    with pytest.raises(OutputError, match="exists already"):
        supernets.save_weights(small, full)


def test_saving_refuses_what_is_not_finite(tmp_path):
    net = supernets.build_supernet(SMALL)
    with torch.no_grad():
        net.classifier.linear.weight[0, 0] = 1e6
    with pytest.raises(WeightsError, match=r"classifier\.linear\.weight"):
        supernets.save_weights(net, tmp_path / "x.safetensors", half=True)
    assert not list(tmp_path.iterdir())


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("hostile-was-here"),))


def refused(path, match):
    """Loading fails with one line naming the file, and neither net nor file is touched."""
    net = supernets.build_supernet(SMALL)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    content = path.read_bytes() if path.is_file() else None
    with pytest.raises(WeightsError, match=match) as caught:
        supernets.load_weights(net, SMALL, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert content is None or path.read_bytes() == content


@pytest.mark.parametrize("way", ["torch", "torch-old", "pickle"])
def test_hostile_pickles_are_refused_and_not_run(tmp_path, monkeypatch, way):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.pth"
    if way == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Hostile()}))
    else:
        torch.save({"state_dict": Hostile()}, path, _use_new_zipfile_serialization=way == "torch")
    refused(path, "more than tensors")
    assert not Path("hostile-was-here").exists()


def test_files_that_are_no_checkpoint_are_refused(tmp_path, small):
    whole = tmp_path / "whole"
    torch.save(published(small), whole)
    cut = tmp_path / "cut"
    cut.write_bytes(whole.read_bytes()[:-1000])
    refused(cut, "cut short")
    supernets.save_weights(small, tmp_path / "whole.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-1000])
    refused(cut, "cut short")
    (tmp_path / "huge.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    refused(tmp_path / "huge.safetensors", "cut short")
    (tmp_path / "empty").touch()
    refused(tmp_path / "empty", "cut short")
    (tmp_path / "text").write_text("not a checkpoint\n")
    refused(tmp_path / "text", "is not a checkpoint")
    refused(tmp_path / "absent", "no such weights file")
    refused(tmp_path, "cannot be read")
    for value in ([1, 2], {}, {"state_dict": {"a": 1}}, {"state_dict": {1: torch.zeros(1)}}):
        torch.save(value, tmp_path / "other")
        refused(tmp_path / "other", "no state dict")


def test_other_nets_are_refused_naming_the_first_key(tmp_path, small, big):
    path = tmp_path / "net"
    torch.save(published(big["ofa-mbv3-w1.0"]), path)
    refused(path, r"does not fit ofa-mbv3-cifar10: 'first_conv.conv.weight' has shape \(16, 3, 3, 3\)")
    state = published(small, False)
    key = "blocks.1.mobile_inverted_conv.point_linear.conv.conv.weight"
    torch.save({k: v for k, v in state.items() if k != key}, path)
    refused(path, "'blocks.1.conv.point_linear.conv.conv.weight' is missing")
    torch.save({**state, "blocks.21.extra.weight": torch.zeros(2)}, path)
    refused(path, "'blocks.21.extra.weight' is not in that net")
    torch.save({**state, "blocks.1.conv.point_linear.conv.weight": state[key]}, path)
    refused(path, "occurs twice")
    torch.save({**state, key: state[key].long()}, path)
    refused(path, "floating-point")
    torch.save({**state, key: state[key] * float("nan")}, path)
    refused(path, "infinities or NaNs")
