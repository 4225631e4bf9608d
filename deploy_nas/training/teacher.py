"""The network that an elastic supernet learns from: large, fast on a GPU, and never shipped."""

from __future__ import annotations

from torch import nn

from deploy_nas.adapters.supernets import temporary_seed


def teacher_net(classes: int, *, seed: int) -> nn.Module:
    """A ResNet-18 (He et al., 2016) for small images: torchvision's, with a 3x3 stem of stride 1."""
    from torchvision.models import resnet18

    with temporary_seed(seed):
        net: nn.Module = resnet18(weights=None, num_classes=classes)
        net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net
