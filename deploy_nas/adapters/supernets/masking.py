"""Every subnet of an ``OFAMobileNetV3`` in the shapes of the largest, with inactive parts masked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


class Masked:
    """An elastic net whose subnets differ in values and not in shapes, so that one CUDA graph runs them all.

    ``masked(x, genes)`` returns the logits of the subnet with these :meth:`genes`; in evaluation mode they
    are those of the net with that subnet active. In training mode, batch norms of inactive parts gather
    statistics too, which must not be used.

    Args:
        net: ``OFAMobileNetV3`` with kernels of 3 and 5.
        largest: the architecture with everything active.
    """

    def __init__(self, net: Any, largest: Mapping[str, Any]) -> None:
        self.net, self.largest = net, largest
        self.blocks = [block.conv for block in net.blocks[1:]]
        self.places = [
            (stage, rank) for stage, ids in enumerate(net.block_group_info) for rank in range(len(ids))
        ]

    @staticmethod
    def fits(net: Any) -> bool:
        """Whether this class can mask the net."""
        from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3

        return isinstance(net, OFAMobileNetV3) and all(
            set(block.conv.kernel_size_list) == {3, 5} for block in net.blocks[1:]
        )

    def genes(self, architecture: Mapping[str, Any]) -> NDArray[np.float32]:
        """float32 ``[blocks, 4]``: expanded channels, gate channels, 1 for a 5x5 kernel, 1 if active."""
        from ofa.utils import MyNetwork, make_divisible

        rows = []
        for (stage, rank), conv, kernel, ratio in zip(
            self.places, self.blocks, architecture["ks"], architecture["e"], strict=True
        ):
            width = make_divisible(round(max(conv.in_channel_list) * ratio), MyNetwork.CHANNEL_DIVISIBLE)
            gate = make_divisible(width // 4, MyNetwork.CHANNEL_DIVISIBLE)
            rows.append((width, gate, kernel == 5, rank < architecture["d"][stage]))
        return np.asarray(rows, dtype=np.float32)

    def __call__(self, x: torch.Tensor, genes: torch.Tensor) -> torch.Tensor:
        """Logits; ``genes`` must be on the net's device."""
        from deploy_nas.adapters.supernets.build import activate

        activate(self.net, self.largest)
        with self._masks(genes):
            logits: torch.Tensor = self.net(x)
        return logits

    @contextlib.contextmanager
    def _masks(self, genes: torch.Tensor) -> Iterator[None]:
        with contextlib.ExitStack() as stack:

            def scale(module: Any, mask: torch.Tensor) -> None:
                hook = module.register_forward_hook(lambda module, inputs, out: out * mask.to(out.dtype))
                stack.callback(hook.remove)

            for conv, gene in zip(self.blocks, genes, strict=True):
                scale(conv.depth_conv.act, _first(conv.depth_conv.bn.bn.num_features, gene[0]))
                if conv.use_se:
                    scale(
                        conv.depth_conv.se.fc.relu, _first(conv.depth_conv.se.fc.reduce.out_channels, gene[1])
                    )
                scale(conv, gene[3])
                depthwise = conv.depth_conv.conv
                depthwise.get_active_filter = _either(depthwise.get_active_filter, gene[2])
                stack.callback(delattr, depthwise, "get_active_filter")
            yield


def _first(channels: int, count: torch.Tensor) -> torch.Tensor:
    """``[1, channels, 1, 1]``: one for the first ``count``, zero for the rest."""
    import torch

    return (torch.arange(channels, device=count.device) < count).view(1, -1, 1, 1)


def _either(filters: Any, large: torch.Tensor) -> Any:
    """The 5x5 filter, or the 3x3 one with a border of zeros, which computes the same convolution."""
    from torch.nn import functional

    def chosen(channels: int, kernel_size: int) -> torch.Tensor:
        small = functional.pad(filters(channels, 3), (1, 1, 1, 1))
        mixed: torch.Tensor = filters(channels, 5) * large + small * (1.0 - large)
        return mixed

    return chosen
