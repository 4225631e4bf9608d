"""The supernets that can be built, by the class that a space names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def mobilenet_v3(*, stem_stride: int, stage_strides: list[int], **arguments: Any) -> torch.nn.Module:
    """``OFAMobileNetV3`` with the space's strides."""
    from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
    from ofa.utils.layers import IdentityLayer

    net: Any = OFAMobileNetV3(dropout_rate=0.0, **arguments)
    net.first_conv.stride, net.first_conv.conv.stride = stem_stride, (stem_stride, stem_stride)
    for indices, stride in zip(net.block_group_info, stage_strides, strict=True):
        block = net.blocks[indices[0]]
        block.conv.stride = block.conv.depth_conv.conv.stride = stride
        # ofa decided on the shortcut by its own stride.
        same = stride == 1 and block.conv.in_channels == block.conv.out_channels
        block.shortcut = IdentityLayer(block.conv.in_channels, block.conv.out_channels) if same else None
    module: torch.nn.Module = net
    return module


def proxyless(**arguments: Any) -> torch.nn.Module:
    """``OFAProxylessNASNets``."""
    from ofa.imagenet_classification.elastic_nn.networks import OFAProxylessNASNets

    net: torch.nn.Module = OFAProxylessNASNets(dropout_rate=0.0, **arguments)
    return net


def resnet(**arguments: Any) -> torch.nn.Module:
    """``OFAResNets``."""
    from ofa.imagenet_classification.elastic_nn.networks import OFAResNets

    net: torch.nn.Module = OFAResNets(dropout_rate=0.0, **arguments)
    return net


def mcunet(**arguments: Any) -> torch.nn.Module:
    """The supernet of MIT's TinyML lab, which ``ofa`` lacks: built from ofa's dynamic modules."""
    from deploy_nas.adapters.supernets.mcunet import OFAMCUNets

    return OFAMCUNets(**arguments)


FAMILIES: Mapping[str, Callable[..., torch.nn.Module]] = {
    "OFAMobileNetV3": mobilenet_v3,
    "OFAProxylessNASNets": proxyless,
    "OFAResNets": resnet,
    "OFAMCUNets": mcunet,
}
