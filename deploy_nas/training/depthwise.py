"""Faster training of depthwise convolutions on small maps, for CPUs without AVX-512.

On these the gradient of a 5x5 depthwise kernel takes 50 times as long as that of a 3x3 kernel on the same
map: oneDNN optimises only the latter. Here four gradients of 3x3 kernels make up that of a 5x5 kernel.
"""

from __future__ import annotations

import contextlib
from typing import Any, cast

import torch
from torch.nn import functional, grad

from deploy_nas.training.override import FunctionOverride

# Pixels of the largest map on which four small gradients are faster than a large one.
_SMALL_MAP = 16


class _Depthwise5(torch.autograd.Function):
    """Depthwise 5x5 convolution, stride 1, same padding: ``[n, c, h, w]`` and ``[c, 1, 5, 5]``."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return functional.conv2d(x, weight, padding=2, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        (x, weight), (of_output,) = ctx.saved_tensors, gradients
        of_x = of_weight = None
        channels, height, width = x.shape[1:]
        if ctx.needs_input_grad[0]:
            of_x = grad.conv2d_input(  # type: ignore[no-untyped-call]
                x.shape, weight, of_output, padding=2, groups=channels
            )
        if ctx.needs_input_grad[1]:
            padded = functional.pad(x, (2, 3, 2, 3))
            tiles = weight.new_empty(channels, 1, 6, 6)
            for top in (0, 3):
                for left in (0, 3):
                    tiles[:, :, top : top + 3, left : left + 3] = grad.conv2d_weight(  # type: ignore[no-untyped-call]
                        padded[:, :, top : top + height + 2, left : left + width + 2].contiguous(
                            memory_format=torch.channels_last
                        ),
                        (channels, 1, 3, 3),
                        of_output,
                        groups=channels,
                    )
            of_weight = tiles[:, :, :5, :5]
        return of_x, of_weight


def _fits(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    channels = x.shape[1]
    return (
        x.device.type == "cpu"
        and groups == channels
        and weight.shape == (channels, 1, 5, 5)
        and x.shape[2] * x.shape[3] <= _SMALL_MAP
        and bias is None
        and (stride, padding, dilation) in ((1, 2, 1), ((1, 1), (2, 2), (1, 1)))
    )


def _quick(x: torch.Tensor, weight: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
    """Convolve, without the arguments that are the same in every call that fits."""
    return cast("torch.Tensor", _Depthwise5.apply(x, weight))


def quick_depthwise() -> contextlib.AbstractContextManager[Any]:
    """A context in which backward passes are faster, on CPUs that need it; forward passes are unchanged."""
    slow = torch.backends.cpu.get_cpu_capability() == "AVX2"
    return FunctionOverride(torch.conv2d, _fits, _quick) if slow else contextlib.nullcontext()
