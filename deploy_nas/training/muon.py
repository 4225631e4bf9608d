"""Which weights Muon trains, and its step: apart from the learning rate, and on a CPU in float32.

``torch.optim.Muon`` orthogonalises in bfloat16, which GPUs are quick at. CPUs without it took a fifth of
a training step of the embedded supernet for that; float32 takes them almost nothing, and is more exact.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
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


class Muon:
    """``torch.optim.Muon`` for 1x1 convolutions, in two parts; the first does not know the learning rate.

    So a CUDA graph can hold the first, which is thousands of small kernels.
    """

    def __init__(self, weights: Sequence[nn.Parameter], *, momentum: float) -> None:
        self.weights = weights
        # Muon takes matrices: two-dimensional views of the same memory.
        self.matrices = [w.detach().view(w.shape[:2]) for w in weights]
        self.steps = [nn.Parameter(torch.zeros_like(m)) for m in self.matrices]
        self.optimizer = torch.optim.Muon(self.steps, lr=1.0, weight_decay=0.0, momentum=momentum)

    @torch.no_grad()
    def orthogonalise(self) -> None:
        """Take in the gradients: ``steps`` become what torch's Muon would add at a learning rate of one."""
        for step, weight in zip(self.steps, self.weights, strict=True):
            step.zero_()
            step.grad = None if weight.grad is None else weight.grad.view(weight.shape[:2])
        with exact_on_cpu():
            self.optimizer.step()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def step(self, lr: float, weight_decay: float) -> None:
        """Add the steps to the weights, after their decay."""
        torch._foreach_mul_(self.matrices, 1.0 - lr * weight_decay)
        torch._foreach_add_(self.matrices, list(self.steps), alpha=lr)

    def written(self) -> list[torch.Tensor]:
        """Buffers that :meth:`orthogonalise` writes into."""
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        return [*self.steps, *moments]


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
