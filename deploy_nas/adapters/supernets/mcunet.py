"""The MCUNet supernet of MIT's TinyML lab 3, built from ofa's dynamic modules with the lab's tensor names.

It differs from ``OFAProxylessNASNets`` in three points: every width is elastic at once, the first block may
be a 1x1 convolution only, and squeeze-and-excitation keeps its middle channels at any width.
"""

from __future__ import annotations

from typing import Any

import torch
from ofa.imagenet_classification.elastic_nn.modules.dynamic_layers import (
    DynamicConvLayer,
    DynamicLinearLayer,
    DynamicMBConvLayer,
)
from ofa.imagenet_classification.elastic_nn.modules.dynamic_op import DynamicSE
from ofa.imagenet_classification.networks import ProxylessNASNets
from ofa.utils import SEModule, val2list
from ofa.utils.layers import IdentityLayer, ResidualBlock
from torch import nn

from deploy_nas.core.families.mobilenet_v2 import STRIDES, scaled_widths

_BN = {"momentum": 0.1, "eps": 1e-3}


class Squeeze(DynamicSE):  # type: ignore[misc]
    """Squeeze-and-excitation with a fixed number of middle channels."""

    def __init__(self, channels: int, mid_channels: int) -> None:
        super().__init__(channels)
        self.mid_channels = mid_channels
        self.fc.reduce = nn.Conv2d(channels, mid_channels, 1)
        self.fc.expand = nn.Conv2d(mid_channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The image times its gate, for as many channels as it has."""
        channels = x.size(1)
        gate = x.mean((2, 3), keepdim=True)
        reduce = self.get_active_reduce_weight(self.mid_channels, channels).contiguous()
        gate = nn.functional.conv2d(gate, reduce, self.get_active_reduce_bias(self.mid_channels))
        expand = self.get_active_expand_weight(self.mid_channels, channels).contiguous()
        gate = nn.functional.conv2d(self.fc.relu(gate), expand, self.get_active_expand_bias(channels))
        scaled: torch.Tensor = x * self.fc.h_sigmoid(gate)
        return scaled

    def extract(self, channels: int) -> nn.Module:
        """A separate module for the first ``channels``."""
        own: Any = SEModule(channels)
        own.fc.reduce = nn.Conv2d(channels, self.mid_channels, 1)
        own.fc.expand = nn.Conv2d(self.mid_channels, channels, 1)
        with torch.no_grad():
            own.fc.reduce.weight.copy_(self.fc.reduce.weight[:, :channels])
            own.fc.reduce.bias.copy_(self.fc.reduce.bias)
            own.fc.expand.weight.copy_(self.fc.expand.weight[:channels])
            own.fc.expand.bias.copy_(self.fc.expand.bias[:channels])
        module: nn.Module = own.to(self.fc.reduce.weight.device)
        return module


class ElasticBlock(DynamicMBConvLayer):  # type: ignore[misc]
    """ofa's elastic inverted bottleneck with the lab's squeeze-and-excitation."""

    use_se: bool

    def __init__(self, *sides: list[int], squeeze: bool = False, **arguments: Any) -> None:
        super().__init__(*sides, use_se=squeeze, act_func="relu6", **arguments)
        if squeeze:
            channels = self.depth_conv.conv.max_in_channels
            self.depth_conv.se = Squeeze(channels, max(self.in_channel_list) // 4)

    def get_active_subnet(self, in_channel: int, preserve_weight: bool = True) -> nn.Module:
        """The active block as a separate module."""
        squeeze, self.use_se = self.use_se, False  # ofa would choose other middle channels
        try:
            taken: Any = super().get_active_subnet(in_channel, preserve_weight)
        finally:
            self.use_se = squeeze
        if squeeze:
            taken.depth_conv.add_module(
                "se", self.depth_conv.se.extract(self.active_middle_channel(in_channel))
            )
            taken.use_se = True
        module: nn.Module = taken
        return module


class FusedBlock(nn.Module):
    """The first block without a depthwise convolution."""

    def __init__(self, in_channels: list[int], out_channels: list[int]) -> None:
        super().__init__()
        self.point_linear: Any = DynamicConvLayer(in_channels, out_channels, kernel_size=1, act_func=None)
        self.point_linear.act = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The projection."""
        y: torch.Tensor = self.point_linear(x)
        return y

    def get_active_subnet(self, in_channel: int, preserve_weight: bool = True) -> nn.Module:
        """The active convolution as a separate module."""
        taken: nn.Module = self.point_linear.get_active_subnet(in_channel, preserve_weight)
        return taken


class Block(nn.Module):
    """``ofa.utils.layers.ResidualBlock`` under the lab's names."""

    def __init__(self, conv: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.mobile_inverted_conv, self.shortcut = conv, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output, plus its input if there is a shortcut."""
        y: torch.Tensor = self.mobile_inverted_conv(x)
        return y if self.shortcut is None else y + self.shortcut(x)


class OFAMCUNets(ProxylessNASNets):  # type: ignore[misc]
    """Elastic width, kernels, expand ratios and depths; arguments as for ``mobilenet_v2.mcunet``."""

    def __init__(
        self,
        *,
        base_widths: list[int],
        widths: list[float],
        kernels: list[int],
        expand_ratios: list[int],
        stage_blocks: list[int],
        base_depths: list[int],
        squeeze: list[bool | list[bool]],
        fused_first: bool,
        classes: int,
    ) -> None:
        scaled = [scaled_widths(tuple(base_widths), width) for width in widths]
        stem, first, *stages, mix = [list(of_layer) for of_layer in zip(*scaled, strict=True)]
        if fused_first:
            first_block: nn.Module = FusedBlock(stem, first)
        else:
            first_block = ElasticBlock(stem, first, kernel_size_list=3, expand_ratio_list=1)
        blocks = [Block(first_block, None)]
        groups: list[list[int]] = []
        before = first
        for stage, (channels, count, stride) in enumerate(zip(stages, stage_blocks, STRIDES, strict=True)):
            groups.append([len(blocks) + position for position in range(count)])
            of_stage = squeeze[stage]
            for position in range(count):
                step = 1 if position else stride
                conv = ElasticBlock(
                    before,
                    channels,
                    kernel_size_list=kernels,
                    expand_ratio_list=expand_ratios,
                    stride=step,
                    squeeze=of_stage[position] if isinstance(of_stage, list) else of_stage,
                )
                same = step == 1 and before == channels
                blocks.append(Block(conv, IdentityLayer(max(before), max(before)) if same else None))
                before = channels
        super().__init__(
            DynamicConvLayer([3] * len(stem), stem, kernel_size=3, stride=2, act_func="relu6"),
            blocks,
            DynamicConvLayer(before, mix, kernel_size=1, act_func="relu6"),
            DynamicLinearLayer(mix, classes),
        )
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
        """Choose a subnet: ``wid`` indexes the widths (``None``: widest), ``d`` adds to the base depths."""
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
        """The active subnet as a separate ofa network."""
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
