import pytest
import torch
from torch import nn

from deploy_nas.training.muon import Muon, exact_on_cpu

pytestmark = pytest.mark.slow


def stepped(gradient, context=None):
    weight = nn.Parameter(torch.zeros_like(gradient))
    weight.grad = gradient.clone()
    optimizer = torch.optim.Muon([weight], lr=1.0, weight_decay=0.0)
    if context is None:
        optimizer.step()
    else:
        with context:
            optimizer.step()
    return weight.detach(), weight.grad


def newton_schulz(gradient):
    """The published iteration in float64 (Jordan et al., 2024), of a first step of Nesterov momentum 0.95."""
    x = gradient.double()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / x.norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


@pytest.mark.parametrize("shape", [(8, 48), (48, 8), (16, 16)])
def test_a_step_is_that_of_muon_and_more_exact(shape):
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    whole, _ = stepped(gradient)
    exact, kept = stepped(gradient, exact_on_cpu())
    wanted = -newton_schulz(gradient) * max(1.0, shape[0] / shape[1]) ** 0.5
    torch.testing.assert_close(exact.double(), wanted, rtol=1e-4, atol=1e-5)
    assert (whole - wanted).abs().max() > 20 * (exact - wanted).abs().max()
    torch.testing.assert_close(whole, exact, rtol=0.0, atol=0.05)
    assert torch.equal(kept, gradient)


def test_bfloat16_is_itself_again_afterwards():
    with exact_on_cpu():
        copy = torch.ones(2).bfloat16()
        assert copy.dtype == torch.float32
    assert torch.ones(2).bfloat16().dtype == torch.bfloat16


def test_the_two_parts_together_are_a_step_of_torchs_own():
    generator = torch.Generator().manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((8, 3, 1, 1), (4, 8, 1, 1))]
    theirs = [nn.Parameter(w.detach().flatten(1).clone()) for w in ours]
    muon = Muon(ours, momentum=0.9)
    other = torch.optim.Muon(theirs, lr=1.0, weight_decay=0.1, momentum=0.9)
    for lr in (0.1, 0.05, 0.02):
        for mine, his in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            his.grad = mine.grad.flatten(1).clone()
        other.param_groups[0]["lr"] = lr
        with exact_on_cpu():
            other.step()
        muon.orthogonalise()
        muon.step(lr, weight_decay=0.1)
    for mine, his in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.flatten(1), his)
    assert not any(matrix.requires_grad for matrix in muon.matrices)  # or every step lengthens a graph
