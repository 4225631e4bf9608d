"""The EfficientNet-Lite supernet, of ofa's dynamic modules; published weights go in by name.

The largest subnet is the published network, and every other one is a part of it: the first blocks of each
stage, the most important channels of each expansion, the middle of each kernel. What differs from
``OFAProxylessNASNets`` beside the shape is TensorFlow's padding, which only a stride above 1 shows.

Of the published state dict (``EfficientNet`` of the PyPI package ``efficientnet-lite-pytorch``) and this
module's, tensors are called:

============================  =====================================================================
published                     here
============================  =====================================================================
``_conv_stem``, ``_bn0``      ``first_conv.conv.conv``, ``first_conv.bn.bn``
``_blocks.N._expand_conv``    ``blocks.N.mobile_inverted_conv.inverted_bottleneck.conv.conv``
``_blocks.N._bn0``            ``blocks.N.mobile_inverted_conv.inverted_bottleneck.bn.bn``
``_blocks.N._depthwise_conv`` ``blocks.N.mobile_inverted_conv.depth_conv.conv.conv``
``_blocks.N._bn1``            ``blocks.N.mobile_inverted_conv.depth_conv.bn.bn``
``_blocks.N._project_conv``   ``blocks.N.mobile_inverted_conv.point_linear.conv.conv``
``_blocks.N._bn2``            ``blocks.N.mobile_inverted_conv.point_linear.bn.bn``
``_conv_head``, ``_bn1``      ``feature_mix_layer.conv.conv``, ``feature_mix_layer.bn.bn``
``_fc``                       ``classifier.linear.linear``
============================  =====================================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from ofa.imagenet_classification.elastic_nn.modules.dynamic_layers import (
    DynamicConvLayer,
    DynamicLinearLayer,
    DynamicMBConvLayer,
)
from ofa.imagenet_classification.elastic_nn.modules.dynamic_op import DynamicConv2d, DynamicSeparableConv2d
from ofa.utils.layers import IdentityLayer
from torch import nn

from deploy_nas.adapters.supernets.staged import Block, StagedNet
from deploy_nas.core.families.efficientnet_lite import (
    HEAD_CHANNELS,
    STEM_CHANNELS,
    STEM_STRIDE,
    scaled_stages,
)
from deploy_nas.core.operator_base import tensorflow_pads

State = dict[str, torch.Tensor]

_NAMES = {
    "_conv_stem": "first_conv.conv.conv",
    "_bn0": "first_conv.bn.bn",
    "_conv_head": "feature_mix_layer.conv.conv",
    "_bn1": "feature_mix_layer.bn.bn",
    "_fc": "classifier.linear.linear",
}
_BLOCK_NAMES = {
    "_expand_conv": "inverted_bottleneck.conv.conv",
    "_bn0": "inverted_bottleneck.bn.bn",
    "_depthwise_conv": "depth_conv.conv.conv",
    "_bn1": "depth_conv.bn.bn",
    "_project_conv": "point_linear.conv.conv",
    "_bn2": "point_linear.bn.bn",
}
_PUBLISHED = re.compile(r"(?:_blocks\.(\d+)\.)?(_\w+)\.(\w+)")
_MARK = "_conv_stem.weight"  # what no checkpoint of a supernet has


def padded(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """The images ``[b, c, h, w]`` with TensorFlow's padding around them."""
    top, bottom = tensorflow_pads(x.size(2), kernel, stride)
    left, right = tensorflow_pads(x.size(3), kernel, stride)
    return nn.functional.pad(x, (left, right, top, bottom))


class Strided(nn.Conv2d):
    """A convolution of a subnet with TensorFlow's padding."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images; the padding follows from their sides."""
        return super().forward(padded(x, self.kernel_size[0], self.stride[0]))

    @classmethod
    def of(cls, conv: nn.Conv2d) -> Strided:
        """That convolution, its weight included, padded in this way."""
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        made = cls(conv.in_channels, conv.out_channels, kernel, stride, groups=conv.groups, bias=False)
        made.weight = conv.weight
        return made


class StridedDepthwise(DynamicSeparableConv2d):  # type: ignore[misc]
    """ofa's elastic depthwise convolution with TensorFlow's padding."""

    def forward(self, x: torch.Tensor, kernel_size: int | None = None) -> torch.Tensor:
        """Images, of as many channels as there are."""
        kernel = self.active_kernel_size if kernel_size is None else kernel_size
        filters = self.get_active_filter(x.size(1), kernel).contiguous()
        return nn.functional.conv2d(
            padded(x, kernel, self.stride), filters, None, self.stride, groups=x.size(1)
        )


class StridedConv(DynamicConv2d):  # type: ignore[misc]
    """ofa's elastic convolution with TensorFlow's padding."""

    def forward(self, x: torch.Tensor, out_channel: int | None = None) -> torch.Tensor:
        """Images, of as many channels as there are."""
        channels = self.active_out_channel if out_channel is None else out_channel
        filters = self.get_active_filter(channels, x.size(1)).contiguous()
        return nn.functional.conv2d(padded(x, self.kernel_size, self.stride), filters, None, self.stride)


class Stem(DynamicConvLayer):  # type: ignore[misc]
    """The first convolution."""

    def __init__(self) -> None:
        super().__init__([3], [STEM_CHANNELS], kernel_size=3, stride=STEM_STRIDE, act_func="relu6")
        self.conv = StridedConv(3, STEM_CHANNELS, kernel_size=3, stride=STEM_STRIDE)

    def get_active_subnet(self, in_channel: int, preserve_weight: bool = True) -> nn.Module:
        """A layer of its own."""
        taken: Any = super().get_active_subnet(in_channel, preserve_weight)
        taken.conv = Strided.of(taken.conv)
        module: nn.Module = taken
        return module


class Bottleneck(DynamicMBConvLayer):  # type: ignore[misc]
    """ofa's elastic inverted bottleneck; one with a stride has TensorFlow's padding."""

    stride: int

    def __init__(self, before: int, channels: int, **choices: Any) -> None:
        super().__init__([before], [channels], act_func="relu6", **choices)
        if self.stride > 1:
            inside = self.depth_conv.conv
            self.depth_conv.conv = StridedDepthwise(
                inside.max_in_channels, inside.kernel_size_list, self.stride
            )

    def get_active_subnet(self, in_channel: int, preserve_weight: bool = True) -> nn.Module:
        """A block of its own."""
        taken: Any = super().get_active_subnet(in_channel, preserve_weight)
        if self.stride > 1:
            taken.depth_conv.conv = Strided.of(taken.depth_conv.conv)
        module: nn.Module = taken
        return module


class EfficientNetLite(StagedNet):
    """Elastic kernels, expand ratios and depths; arguments as of ``families.efficientnet_lite``."""

    def __init__(self, *, width: float, depth: float, expand_ratios: list[int], classes: int) -> None:
        before, stages = scaled_stages(width, depth)
        first = Bottleneck(STEM_CHANNELS, before, kernel_size_list=3, expand_ratio_list=1)
        blocks, groups = [Block(first, None)], []
        for stage in stages:
            groups.append([len(blocks) + position for position in range(stage.blocks)])
            for position in range(stage.blocks):
                conv = Bottleneck(
                    before,
                    stage.channels,
                    kernel_size_list=list(range(3, stage.kernel + 1, 2)),
                    expand_ratio_list=list(expand_ratios),
                    stride=1 if position else stage.stride,
                )
                same = conv.stride == 1 and before == stage.channels
                blocks.append(Block(conv, IdentityLayer(before, before) if same else None))
                before = stage.channels
        super().__init__(
            Stem(),
            blocks,
            DynamicConvLayer([before], [HEAD_CHANNELS], kernel_size=1, act_func="relu6"),
            DynamicLinearLayer([HEAD_CHANNELS], classes),
            groups=groups,
            base_depths=[0] * len(groups),
        )

    def translated(self, state: State) -> State:
        """A state dict under this module's names, its channels in order of importance.

        Kernels of 3 inside of 5 begin as their middle. A state dict that is not in the published spelling
        is returned as it is; a tensor that is not known keeps its name.
        """
        if _MARK not in state:
            return state
        named = {_translated(name): value for name, value in state.items()}
        for number in range(len(self.blocks)):
            _sort_channels(named, f"blocks.{number}.mobile_inverted_conv.")
        own = self.state_dict()
        return named | {name: torch.eye(len(own[name])) for name in own if name.endswith("_matrix")}


def mean_relu6(mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Mean of ReLU6 of normal variables, as a batch norm with this shift and scale is taken to give them."""
    deviation = deviation.clamp(min=1e-9)

    def above(bound: float) -> torch.Tensor:
        """Mean of what exceeds the bound."""
        away = (mean - bound) / deviation
        density = torch.exp(-away.square() / 2) / math.sqrt(2 * math.pi)
        mean_above: torch.Tensor = (mean - bound) * torch.special.ndtr(away) + deviation * density
        return mean_above

    return above(0.0) - above(6.0)


def _translated(name: str) -> str:
    found = _PUBLISHED.fullmatch(name)
    if found is None:
        return name
    block, module, tensor = found.groups()
    if block is None:
        return f"{_NAMES[module]}.{tensor}" if module in _NAMES else name
    if module not in _BLOCK_NAMES:
        return name
    return f"blocks.{block}.mobile_inverted_conv.{_BLOCK_NAMES[module]}.{tensor}"


def _sort_channels(state: State, block: str) -> None:
    """Bring the channels inside a block into order, most important first, in place.

    Importance is the sum of absolute weights with which the projection reads a channel, as in ofa's
    ``re_organize_middle_weights``, times what stands in that channel on average: many of these networks'
    channels are next to zero (docs/reference/spaces/efficientnet-lite.md has what that is worth). The block
    without an expansion has nothing to leave out. Tensors that are missing, or do not fit each other, are
    left for the caller to find.
    """
    if f"{block}inverted_bottleneck.conv.conv.weight" not in state:
        return
    names = ("point_linear.conv.conv.weight", "depth_conv.bn.bn.bias", "depth_conv.bn.bn.weight")
    read = [state.get(f"{block}{name}") for name in names]
    project, shift, scale = (torch.empty(0) if tensor is None else tensor.double() for tensor in read)
    if project.ndim != 4 or not project.size(1) == len(shift) == len(scale):
        return
    # in float64 and stable: the same order on every machine
    importance = project.abs().sum(dim=(0, 2, 3)) * mean_relu6(shift, scale.abs())
    order = torch.sort(importance, descending=True, stable=True).indices
    inside: Mapping[str, int] = {
        name: 1 if name.startswith(f"{block}point_linear.conv") else 0
        for name, value in state.items()
        if name.startswith(block) and not name.startswith(f"{block}point_linear.bn") and value.ndim
    }
    if all(state[name].size(axis) == len(order) for name, axis in inside.items()):
        for name, axis in inside.items():
            state[name] = state[name].index_select(axis, order)
