"""Batch norm over parts, with the other process's part made up; test_ranks.py has real ones."""

import pytest
import torch
from torch import nn

from deploy_nas.training.ranks import Ranks
from deploy_nas.training.shared_norm import shared_norms


class Twins(Ranks):
    """Two processes with the same images: each sum is twice this one's."""

    def add_up(self, tensor):
        tensor *= 2


@pytest.mark.parametrize("affine", [True, False])
def test_two_equal_parts_give_what_one_gives(affine):
    torch.manual_seed(0)
    x = torch.randn(6, 4, 5, 3) * 3 + 7
    given = torch.randn(6, 4, 5, 3)
    found = []
    for ranks in (Ranks(), Twins(rank=0, size=2)):
        torch.manual_seed(1)
        norm = nn.BatchNorm2d(4, affine=affine)
        if affine:
            nn.init.normal_(norm.weight)
        mine = x.clone().requires_grad_()
        with shared_norms(ranks):
            y = norm(mine)
        y.backward(given)
        gradients = [p.grad for p in norm.parameters()]
        found.append([y, mine.grad, norm.running_mean, norm.running_var, *gradients])
    one, two = found
    one[3] = 0.9 + (one[3] - 0.9) * (89 / 90) * (180 / 179)  # the variance of twice as many images
    for alone, shared in zip(one, two, strict=True):
        torch.testing.assert_close(alone, shared, rtol=1e-4, atol=1e-5)


def test_norms_with_statistics_of_their_own_are_left_alone():
    norm = nn.BatchNorm2d(4).eval()
    x = torch.randn(2, 4, 3, 3)
    with shared_norms(Twins(rank=0, size=2)):
        shared = norm(x)
    assert torch.equal(shared, norm(x))
