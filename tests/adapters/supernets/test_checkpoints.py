"""Checkpoints with any key names load; files that do not fit, or that could run code, are refused."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy_nas.adapters import supernets
from deploy_nas.adapters.supernets.checkpoints import (
    canonical_key,
    copy_body,
    head_name,
    stored_classes,
    weights_notes,
)
from deploy_nas.core.errors import OutputError, WeightsError
from deploy_nas.core.spaces import get_space

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]

SMALL = get_space("ofa-mbv3-cifar10")


def published(net, container=True):
    """The net's weights under the names of OFA's published checkpoints."""
    state = {k.replace(".conv.", ".mobile_inverted_conv.", 1) if k.startswith("blocks.") else k: v
             for k, v in net.state_dict().items()}  # fmt: skip
    return {"state_dict": state} if container else state


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
    loaded = supernets.load_weights(net, SMALL, path)
    assert loaded.sha256 == supernets.weights_hash(path)
    assert not loaded.wrapping
    assert same_weights(net, small)


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


def test_wrapped_checkpoints_load_and_the_wrapping_is_named(tmp_path, small):
    state, averaged = dict(small.state_dict()), {k: v + 1 for k, v in small.state_dict().items()}
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    lightning = {**prefixed(state, "model."), "criterion.weight": torch.ones(10)}
    forms = {
        "prefix 'module.'": prefixed(state, "module."),
        "prefix '_orig_mod.'": prefixed(state, "_orig_mod."),
        "prefix 'module._orig_mod.'": prefixed(published(small, False), "module._orig_mod."),
        "'model'": {"model": state, "optimizer": optimizer, "epoch": 3},
        "'state_dict', prefix 'model.'": {
            "state_dict": prefixed(state, "model."),
            "epoch": 1,
            "pytorch-lightning_version": "2.5.0",
            "optimizer_states": [optimizer],
            "hyper_parameters": {"lr": 0.1},
        },
        "'state_dict', prefix 'model.'; 'criterion.weight' left out": {"state_dict": lightning},
        "'model'; 'model_ema.module' left out": {
            "model": state,
            "model_ema": prefixed(averaged, "module."),
        },
        "'state_dict'; 'state_dict_ema' left out": {"state_dict": state, "state_dict_ema": averaged},
        "'state_dict', prefix 'model.'; 'state_dict.ema_model.module' left out": {
            "state_dict": {**prefixed(averaged, "ema_model.module."), **prefixed(state, "model.")}
        },
        "'ema'": {"ema": state, "epoch": 3},
    }  # fmt: skip
    net = supernets.build_supernet(SMALL, seed=9)
    blank = {key: value.clone() for key, value in net.state_dict().items()}
    for named, value in forms.items():
        torch.save(value, tmp_path / "net")
        net.load_state_dict(blank)
        assert supernets.load_weights(net, SMALL, tmp_path / "net").wrapping == named
        assert same_weights(net, small), named
    assert stored_classes(net, tmp_path / "net") == 10


def test_of_two_that_fit_neither_is_taken(tmp_path, small):
    state, other = dict(small.state_dict()), {k: v + 1 for k, v in small.state_dict().items()}
    torch.save({"student": state, "teacher": other}, tmp_path / "two")
    refused(
        tmp_path / "two",
        "holds several state dicts that fit: 'student'; 'teacher'; name the one you mean: .*two:student or ",
    )
    torch.save(
        {"state_dict": {**prefixed(state, "model."), **prefixed(other, "teacher.")}}, tmp_path / "both"
    )
    refused(tmp_path / "both", "'state_dict', prefix 'model.'; 'state_dict', prefix 'teacher.'")
    torch.save({"model": {**prefixed(state, "module."), "module.extra": torch.ones(1)}}, tmp_path / "extra")
    refused(tmp_path / "extra", "'extra' is not in that net")


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


def test_resnet_checkpoints_load_with_both_sets_of_names(tmp_path, randomise):
    space = get_space("ofa-resnet50")
    net = randomise(supernets.build_supernet(space))
    state = net.state_dict()
    static = {}  # as an ofa without elastic layers names it: what OFAResNets.load_state_dict renames
    for key, value in state.items():
        for ours, theirs in (
            (".linear.linear.", ".linear."),
            ("bn.bn.", "bn."),
            ("conv.conv.weight", "conv.weight"),
        ):
            key = key.replace(ours, theirs)
        static[key] = value
    for number, named in enumerate((state, static)):
        torch.save({"state_dict": named}, tmp_path / f"{number}.pth")
        other = supernets.build_supernet(space, seed=5)
        supernets.load_weights(other, space, tmp_path / f"{number}.pth")
        x = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
        np.testing.assert_array_equal(supernets.forward(other.eval(), x), supernets.forward(net.eval(), x))


@pytest.mark.parametrize(
    ("key", "canonical"),
    [
        ("first_conv.conv.conv.weight", "first_conv.conv.weight"),
        ("first_conv.bn.bn.running_mean", "first_conv.bn.running_mean"),
        ("blocks.3.mobile_inverted_conv.depth_conv.bn.bn.bias", "blocks.3.conv.depth_conv.bn.bias"),
        ("classifier.linear.linear.weight", "classifier.linear.weight"),
        ("input_stem.0.conv.conv.conv.weight", "input_stem.0.conv.weight"),
        ("classifier.linear.bias", "classifier.linear.bias"),
    ],
)
def test_keys_have_a_canonical_form(key, canonical):
    assert canonical_key(key) == canonical == canonical_key(canonical)


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
        supernets.save_weights(small, full, half=True)


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


def test_files_that_are_not_checkpoints_are_refused(tmp_path, small):
    whole = tmp_path / "whole"
    torch.save(published(small), whole)
    cut = tmp_path / "cut"
    cut.write_bytes(whole.read_bytes()[:-1000])
    refused(cut, "cut short")
    supernets.save_weights(small, tmp_path / "whole.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-1000])
    refused(cut, "was edited or damaged")
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


def test_notes_are_carried_by_the_file(tmp_path, small):
    plain, noted = tmp_path / "plain.safetensors", tmp_path / "noted.safetensors"
    supernets.save_weights(small, plain)
    supernets.save_weights(small, noted, notes={"about": "für mich"})
    assert weights_notes(noted) == {"about": "für mich"} and weights_notes(plain) == {}
    assert weights_notes(tmp_path / "any.pth") == {}
    net = supernets.build_supernet(SMALL, seed=9)
    supernets.load_weights(net, SMALL, noted)
    assert same_weights(net, small)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(noted.read_bytes()[:100])
    for path in (cut, tmp_path / "gone.safetensors"):
        with pytest.raises(WeightsError, match="is not a safetensors file, or is cut short"):
            weights_notes(path)


@pytest.mark.parametrize(
    ("id", "head"),
    [
        ("ofa-mbv3-cifar10", "classifier.linear"),
        ("ofa-resnet50", "classifier.linear.linear"),
        ("efficientnet-lite0", "classifier.linear.linear"),
    ],
)
def test_the_classifier_is_the_last_linear_layer(id, head):
    net = supernets.build_supernet(get_space(f"{id}@3"))
    assert head_name(net) == head
    assert net.state_dict()[f"{head}.weight"].shape[0] == 3


@pytest.mark.parametrize("container", [True, False])
def test_classes_of_a_checkpoint_are_counted_whatever_its_names(tmp_path, small, container):
    torch.save(published(small, container), tmp_path / "published.pth")
    supernets.save_weights(supernets.build_supernet(get_space(f"{SMALL.id}@7")), tmp_path / "7.safetensors")
    assert stored_classes(small, tmp_path / "published.pth") == 10
    assert stored_classes(small, tmp_path / "7.safetensors") == 7


def test_classes_of_published_weights_are_counted_through_the_nets_own_names():
    space = get_space("efficientnet-lite0")
    assert stored_classes(supernets.build_supernet(space), space.default_weights.path) == 1000


def test_a_file_without_a_classifier_is_refused(tmp_path, small):
    state = {k: v for k, v in small.state_dict().items() if not k.startswith("classifier")}
    torch.save(state, tmp_path / "body.pth")
    with pytest.raises(WeightsError, match="holds no classifier of this supernet"):
        stored_classes(small, tmp_path / "body.pth")


def test_a_body_is_copied_and_the_classifier_left(small):
    net = supernets.build_supernet(get_space(f"{SMALL.id}@3"), seed=4)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    copy_body(small, net)
    given = small.state_dict()
    for name, tensor in net.state_dict().items():
        own = name.startswith("classifier.")
        assert torch.equal(tensor, before[name] if own else given[name]), name
