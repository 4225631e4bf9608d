"""Batch norm over the parts of a batch that several processes have, as if one had it all.

``torch.nn.SyncBatchNorm`` needs a GPU, and ofa's elastic norms call ``functional.batch_norm`` themselves.
"""

from __future__ import annotations

import contextlib
from typing import Any, cast

import torch
from torch.nn import functional

from deploy_nas.training.override import FunctionOverride
from deploy_nas.training.ranks import Ranks


class _Shared(torch.autograd.Function):
    """Normalisation by the mean and variance of all processes' parts, ``[n, c, h, w]``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        mean: torch.Tensor,
        variance: torch.Tensor,
        eps: float,
        ranks: Ranks,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.ranks = eps, ranks
        return functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        x, weight, mean, variance = ctx.saved_tensors
        (given,) = gradients
        over, count = (0, 2, 3), x.numel() // x.shape[1] * ctx.ranks.size
        inverse = torch.rsqrt(variance + ctx.eps)
        of_bias = given.sum(over, dtype=torch.float32)
        of_weight = ((given * x).sum(over, dtype=torch.float32) - mean * of_bias) * inverse
        sums = torch.cat([of_bias, of_weight])
        ctx.ranks.add_up(sums)
        sum_given, sum_normalised = sums.chunk(2)
        scale = inverse if weight is None else inverse * weight
        # scale * (given - mean of given - normalised * mean of given * normalised), as one line per channel
        slope = scale * inverse * sum_normalised / count
        shift = slope * mean - scale * sum_given / count
        of_x = given * _wide(scale, given) - x * _wide(slope, x) + _wide(shift, x)
        if weight is None:
            return of_x, None, None, None, None, None, None
        return of_x, of_weight, of_bias, None, None, None, None


def _wide(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.to(like.dtype)[:, None, None]


def shared_norms(ranks: Ranks) -> contextlib.AbstractContextManager[Any]:
    """A context in which batch norms that train use the statistics of all processes' images."""
    if ranks.alone:
        return contextlib.nullcontext()

    def applies(
        x: torch.Tensor,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        training: bool = False,
        *rest: Any,
        **named: Any,
    ) -> bool:
        return training and x.ndim == 4

    def shared(
        x: torch.Tensor,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        training: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        mean, variance = _statistics(x.detach(), ranks)
        if running_mean is not None and running_var is not None:
            count = x.numel() // x.shape[1] * ranks.size
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((variance * (count / max(1, count - 1))).to(running_var.dtype), momentum)
        found = _Shared.apply(x, weight, bias, mean, variance, eps, ranks)
        return cast("torch.Tensor", found)

    return FunctionOverride(functional.batch_norm, applies, shared)


def _statistics(x: torch.Tensor, ranks: Ranks) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of each channel over all processes; the parts are equally large."""
    variance, mean = torch.var_mean(x.float(), (0, 2, 3), correction=0)
    # In double precision: the mean of the squares loses what the square of the mean has in common with it.
    moments = torch.cat([mean, variance]).double()
    moments[len(mean) :] += mean.double() ** 2
    ranks.add_up(moments)
    whole, squares = (moments / ranks.size).chunk(2)
    return whole.float(), (squares - whole**2).clamp(min=0.0).float()
