"""Masked subnets against active ones: logits, gradients, and the net afterwards."""

import numpy as np
import pytest
import torch

from deploy_nas.adapters.supernets import Masked, activate, build_supernet, use_torch_activations
from deploy_nas.core.spaces import embedded_space

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]

SPACE = embedded_space()


@pytest.fixture(scope="module")
def net():
    made = build_supernet(SPACE, seed=3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in made.state_dict().items():
            if "to3_matrix" in name or name.endswith((".bn.weight", ".bn.bias", "running_mean")):
                value.add_(0.3 * torch.randn(value.shape, generator=generator))  # as if trained
    use_torch_activations(made)
    return made


def gradients(net, logits):
    net.zero_grad()
    (logits**2).sum().backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("training", [False, True])
def test_logits_and_gradients_are_those_of_the_active_subnet(net, training):
    net.train(training)
    masked = Masked(net, SPACE.largest())
    rng = np.random.default_rng(1)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    for architecture in [SPACE.smallest(), SPACE.largest(), *(SPACE.sample(rng) for _ in range(6))]:
        logits = masked(x, torch.from_numpy(masked.genes(architecture)))
        of_masked = gradients(net, logits)
        activate(net, architecture)
        wanted = net(x)
        torch.testing.assert_close(logits, wanted, rtol=1e-3, atol=1e-3)
        of_active = gradients(net, wanted)
        assert of_active.keys() <= of_masked.keys()
        scale = max(g.abs().max() for g in of_active.values())
        for name, gradient in of_masked.items():
            other = of_active.get(name, torch.zeros_like(gradient))
            own = max(other.abs().max(), 1e-3 * scale)
            assert (gradient - other).abs().max() < 2e-3 * own, name


def test_the_net_is_itself_again_afterwards(net):
    net.eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    activate(net, SPACE.largest())
    before = net(x)
    masked = Masked(net, SPACE.largest())
    masked(x, torch.from_numpy(masked.genes(SPACE.smallest())))
    assert torch.equal(net(x), before)
