"""Which weights Muon trains, and its step on a CPU in float32.

``torch.optim.Muon`` orthogonalises in bfloat16, which GPUs are quick at. CPUs without it took a fifth of
a training step of the embedded supernet for that; float32 takes them almost nothing, and is more exact.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import torch
from torch import nn

from deploy_nas.training.instead import Instead


def _on_cpu(x: torch.Tensor) -> bool:
    return x.device.type == "cpu"


def _float32(x: torch.Tensor) -> torch.Tensor:
    """A copy, as ``Tensor.bfloat16()`` gives one and its caller writes into it."""
    return x.to(torch.float32, copy=True)


def exact_on_cpu() -> contextlib.AbstractContextManager[Any]:
    """A context in which ``Muon.step`` orthogonalises matrices on the CPU in float32."""
    return Instead(torch.Tensor.bfloat16, _on_cpu, _float32)


def normalised_pointwise(net: nn.Module) -> list[nn.Parameter]:
    """The weights of the 1x1 convolutions across channels that a batch norm directly follows."""
    found = []
    for module in net.modules():
        for first, second in itertools.pairwise(module.children()):
            weights = list(first.parameters())
            ends = (m for m in second.modules() if not list(m.children()))
            if len(weights) != 1 or not all(isinstance(m, nn.BatchNorm2d) for m in ends):
                continue
            shape = weights[0].shape
            if len(shape) == 4 and shape[2:] == (1, 1) and shape[1] > 1:
                found.append(weights[0])
    return found
