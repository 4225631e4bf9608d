"""Running supernets and subnets: their logits, and batch-norm statistics estimated again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters.supernets.host import usual_torch
from deploy_nas.core.errors import ImagesError
from deploy_nas.core.extras import require_supernets

if TYPE_CHECKING:
    import torch

Images = NDArray[np.float32]


@usual_torch()
def forward(net: torch.nn.Module, images: Images) -> NDArray[np.float32]:
    """Logits float32 ``[b, classes]`` of float32 images ``[b, 3, s, s]``, in the net's current mode."""
    import torch

    with torch.inference_mode():
        output = net(torch.from_numpy(np.ascontiguousarray(images)).to(_device(net)))
    logits: NDArray[np.float32] = output.cpu().numpy()
    return logits


@usual_torch()
def recalibrate(subnet: torch.nn.Module, batches: Iterable[Images]) -> int:
    """Estimate the batch-norm statistics again, in place; returns the number of images used.

    As ``ofa.imagenet_classification.elastic_nn.utils.set_running_statistics`` does: every batch is
    normalised by its own statistics, and the means and (population) variances of the batches are
    averaged, each weighted by its number of images. Every batch should mix classes.

    Args:
        subnet: as :func:`subnet` gives it.
        batches: float32 ``[b, 3, s, s]`` each.

    Raises:
        ImagesError: there are no images.
    """
    import torch

    norms = [m for m in subnet.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    kept: dict[torch.nn.Module, tuple[Any, Any]] = {m: (m.running_mean, m.running_var) for m in norms}
    totals: dict[torch.nn.Module, list[Any]] = {m: [0.0, 0.0] for m in norms}

    def use_batch_statistics(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0]
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        totals[module][0] += mean.double() * len(x)
        totals[module][1] += variance.double() * len(x)
        module.running_mean, module.running_var = mean, variance

    hooks = [m.register_forward_pre_hook(use_batch_statistics) for m in norms]
    seen = 0
    subnet.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                if len(batch):
                    subnet(torch.from_numpy(np.ascontiguousarray(batch)).to(_device(subnet)))
                    seen += len(batch)
    finally:
        for hook in hooks:
            hook.remove()
        for m in norms:
            m.running_mean, m.running_var = kept[m]
    if not seen:
        raise ImagesError("no images to recalibrate on", subject="calibration images")
    with torch.no_grad():
        for m in norms:
            for buffer, total in zip(kept[m], totals[m], strict=True):
                buffer.copy_(total / seen)
    return seen


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Limit torch to one thread in the context, so that its results are the same on any number of cores."""
    require_supernets()
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device(net: torch.nn.Module) -> torch.device:
    return next(net.parameters()).device
