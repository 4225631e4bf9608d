"""Supernets: built from a seed, without effects on the caller, and subnets extracted from them."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from deploy_nas.adapters import supernets
from deploy_nas.core.errors import WeightsError
from deploy_nas.core.spaces import get_space

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]

SMALL = get_space("ofa-mbv3-cifar10")


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


def test_a_subnet_shares_no_storage_with_its_supernet(small):
    before = {name: value.clone() for name, value in small.state_dict().items()}
    taken = supernets.subnet(small, SMALL.smallest())
    assert not taken.training
    with torch.no_grad():
        for value in taken.state_dict().values():
            value.zero_()
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())


def test_torchs_activations_compute_the_same():
    ours, theirs = (supernets.build_supernet(SMALL, seed=1).eval() for _ in range(2))
    supernets.use_torch_activations(ours)
    kinds = {type(module).__name__ for module in ours.modules()}
    assert {"Hardswish", "Hardsigmoid"} <= kinds and not {"Hswish", "Hsigmoid"} & kinds
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    x = np.random.default_rng(0).standard_normal((1, 3, 24, 24), dtype=np.float32)
    np.testing.assert_allclose(supernets.forward(ours, x), supernets.forward(theirs, x), atol=1e-5)


def test_a_function_of_another_package_can_build_the_net(monkeypatch):
    class Net(torch.nn.Linear):
        def set_active_subnet(self): ...
        def get_active_subnet(self, preserve_weight=True): ...

    space = replace(SMALL, supernet={"class": "torch.nn:made_for_a_test", "width": 3})

    def build(net):
        monkeypatch.setattr(torch.nn, "made_for_a_test", net, raising=False)
        return supernets.build_supernet(space)

    def ends(width):
        raise SystemExit(0)

    assert build(lambda width: Net(width, 1)).in_features == 3
    for net, says in {
        ends: "SystemExit: 0",
        (lambda width: None): "it returned NoneType, not a torch.nn.Module",
        (lambda width: torch.nn.Linear(width, 1)): "it has no set_active_subnet",
        (lambda: Net(3, 1)): "TypeError",
        None: "'NoneType' object is not callable",
    }.items():
        with pytest.raises(
            WeightsError, match=f"its supernet 'torch.nn:made_for_a_test' cannot be used: .*{says}"
        ):
            build(net)


def test_a_class_that_cannot_be_built_is_named():
    for kind in ("NoSuchNets", "no_such_module:net", "json:no_such_name"):
        with pytest.raises(
            WeightsError, match=f"ofa-mbv3-cifar10: its supernet is '{kind}', which cannot be built"
        ):
            supernets.build_supernet(replace(SMALL, supernet={"class": kind}))
