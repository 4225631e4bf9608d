"""The weights that Muon trains, and its step: separate from the learning rate, and in float32 on a CPU.

``torch.optim.Muon`` orthogonalises in bfloat16, which is fast on GPUs. On CPUs without bfloat16 this took a
fifth of a training step of the embedded supernet. There float32 takes almost no time, and is more precise.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from deploy_nas.training.override import FunctionOverride


def _on_cpu(x: torch.Tensor) -> bool:
    return x.device.type == "cpu"


def _float32(x: torch.Tensor) -> torch.Tensor:
    """A copy: ``Tensor.bfloat16()`` returns one too, and its caller writes into it."""
    return x.to(torch.float32, copy=True)


def exact_on_cpu() -> contextlib.AbstractContextManager[Any]:
    """A context in which ``Muon.step`` orthogonalises matrices on the CPU in float32."""
    return FunctionOverride(torch.Tensor.bfloat16, _on_cpu, _float32)


class Muon:
    """``torch.optim.Muon`` for 1x1 convolutions, in two parts.

    The first part, thousands of small kernels, does not depend on the learning rate, so that a CUDA graph can
    hold it.
    """

    def __init__(self, weights: Sequence[nn.Parameter], *, momentum: float) -> None:
        self.weights = weights
        # Muon takes matrices: two-dimensional views of the same memory.
        self.matrices = [w.detach().view(w.shape[:2]) for w in weights]
        self.steps = [nn.Parameter(torch.zeros_like(m)) for m in self.matrices]
        self.optimizer = torch.optim.Muon(self.steps, lr=1.0, weight_decay=0.0, momentum=momentum)

    @torch.no_grad()
    def orthogonalise(self) -> None:
        """Read the gradients and set ``steps`` to the steps of torch's Muon at a learning rate of one."""
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
