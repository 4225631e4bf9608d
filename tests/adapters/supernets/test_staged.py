"""Supernets of stages: which blocks are active (what they compute: the families that use them)."""

from __future__ import annotations

import pytest
import torch

from deploy_nas.adapters.supernets import build_supernet, subnet
from deploy_nas.core.spaces import get_space

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("id", "depths"), [("mcunet-vww", [1, 2, 2, 2, 2, 1]), ("efficientnet-lite0", [1] * 6)]
)
def test_depths_count_from_the_base(id: str, depths: list[int]) -> None:
    space = get_space(id)
    net = build_supernet(space)
    taken = subnet(net, space.smallest())
    assert net.runtime_depth == depths
    assert len(taken.blocks) == 1 + sum(depths)
    net.set_active_subnet(d=99)
    assert net.runtime_depth == [len(group) for group in net.groups]


def test_what_is_not_named_stays() -> None:
    space = get_space("efficientnet-lite0")
    net = build_supernet(space)
    net.set_active_subnet(**{key: space.smallest()[key] for key in ("ks", "e", "d")})
    net.set_active_subnet()
    assert net.runtime_depth == [1] * 6
    net.set_active_subnet(d=[2, None, None, None, None, None])
    assert net.runtime_depth == [2, 1, 1, 1, 1, 1]
    assert net.blocks[3].mobile_inverted_conv.active_kernel_size == 3


def test_a_subnet_shares_no_storage() -> None:
    space = get_space("efficientnet-lite0")
    net = build_supernet(space)
    taken = subnet(net, space.largest())
    with torch.no_grad():
        for tensor in taken.state_dict().values():
            tensor.add_(1)
    for ours, own in zip(taken.blocks, net.blocks, strict=True):
        inside = own.mobile_inverted_conv.depth_conv.conv.conv.weight
        assert not torch.equal(ours.conv.depth_conv.conv.weight, inside)
