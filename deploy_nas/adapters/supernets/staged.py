"""A supernet of stages of ofa's dynamic blocks: which are active, and a subnet taken out."""

from __future__ import annotations

from typing import Any

import torch
from ofa.imagenet_classification.networks import ProxylessNASNets
from ofa.utils import val2list
from ofa.utils.layers import IdentityLayer, ResidualBlock
from torch import nn

_BN = {"momentum": 0.1, "eps": 1e-3}


class Block(nn.Module):
    """``ofa.utils.layers.ResidualBlock`` under the names of MIT's TinyML lab 3."""

    def __init__(self, conv: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.mobile_inverted_conv, self.shortcut = conv, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block, and its input added where it has a shortcut."""
        y: torch.Tensor = self.mobile_inverted_conv(x)
        return y if self.shortcut is None else y + self.shortcut(x)


class StagedNet(ProxylessNASNets):  # type: ignore[misc]
    """A stem, a first block, stages of elastic blocks, a feature mix, a mean and a classifier.

    Args:
        stem, mix, classifier: ofa's dynamic layers.
        blocks: the first block, then those of all stages.
        groups: numbers of each stage's blocks.
        base_depths: blocks that each stage has on top of the depth chosen.
    """

    def __init__(
        self,
        stem: nn.Module,
        blocks: list[Block],
        mix: nn.Module,
        classifier: nn.Module,
        *,
        groups: list[list[int]],
        base_depths: list[int],
    ) -> None:
        super().__init__(stem, blocks, mix, classifier)
        self.base_depths, self.groups = base_depths, groups
        self.runtime_depth = [len(group) for group in groups]
        self.set_bn_param(**_BN)

    def _active(self) -> list[Any]:
        rest = [self.blocks[i] for group, d in zip(self.groups, self.runtime_depth, strict=True)
                for i in group[:d]]  # fmt: skip
        return [self.blocks[0], *rest]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = self.first_conv(x)
        for block in self._active():
            x = block(x)
        logits: torch.Tensor = self.classifier(self.feature_mix_layer(x).mean((2, 3)))
        return logits

    def set_active_subnet(
        self, wid: int | None = None, ks: Any = None, e: Any = None, d: Any = None, **_: Any
    ) -> None:
        """Choose: ``wid`` an index of the widths (``None``: the widest), ``d`` on top of the base depths."""
        for module in self.modules():
            if hasattr(module, "out_channel_list"):
                module.active_out_channel = module.out_channel_list[-1 if wid is None else wid]
        count = len(self.blocks) - 1
        for block, kernel, expand in zip(
            self.blocks[1:], val2list(ks, count), val2list(e, count), strict=True
        ):
            if kernel:
                block.mobile_inverted_conv.active_kernel_size = kernel
            if expand:
                block.mobile_inverted_conv.active_expand_ratio = expand
        for stage, depth in enumerate(val2list(d, len(self.groups))):
            if depth is not None:
                self.runtime_depth[stage] = min(len(self.groups[stage]), self.base_depths[stage] + depth)

    def get_active_subnet(self, preserve_weight: bool = True) -> nn.Module:
        """The active subnet as an ofa network of its own."""
        stem: Any = self.first_conv.get_active_subnet(3, preserve_weight)
        channels = stem.out_channels
        taken = []
        for block in self._active():
            conv = block.mobile_inverted_conv.get_active_subnet(channels, preserve_weight)
            channels = conv.out_channels
            shortcut = None if block.shortcut is None else IdentityLayer(channels, channels)
            taken.append(ResidualBlock(conv, shortcut))
        mix = self.feature_mix_layer.get_active_subnet(channels, preserve_weight)
        classifier = self.classifier.get_active_subnet(mix.out_channels, preserve_weight)
        net: nn.Module = ProxylessNASNets(stem, taken, mix, classifier)
        net.set_bn_param(**_BN)  # type: ignore[operator]
        return net
