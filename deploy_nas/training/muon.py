"""Muon's step on a CPU, in float32.

``torch.optim.Muon`` orthogonalises in bfloat16, which GPUs are quick at. CPUs without it took a fifth of
a training step of the embedded supernet for that; float32 takes them almost nothing, and is more exact.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from deploy_nas.training.instead import Instead


def _on_cpu(x: torch.Tensor) -> bool:
    return x.device.type == "cpu"


def _float32(x: torch.Tensor) -> torch.Tensor:
    """A copy, as ``Tensor.bfloat16()`` gives one and its caller writes into it."""
    return x.to(torch.float32, copy=True)


def exact_on_cpu() -> contextlib.AbstractContextManager[Any]:
    """A context in which ``Muon.step`` orthogonalises matrices on the CPU in float32."""
    return Instead(torch.Tensor.bfloat16, _on_cpu, _float32)
