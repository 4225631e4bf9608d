"""Muon's step on a CPU, in float32.

``torch.optim.Muon`` orthogonalises in bfloat16, which GPUs are quick at. CPUs without it took a fifth of
a training step of the embedded supernet for that; float32 takes them almost nothing, and is more exact.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _Float32(TorchFunctionMode):
    """``Tensor.bfloat16()`` gives a float32 copy, a copy as the caller writes into it."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.bfloat16 and args[0].device.type == "cpu":
            return args[0].to(torch.float32, copy=True)
        return func(*args, **(kwargs or {}))


def exact_on_cpu() -> contextlib.AbstractContextManager[Any]:
    """A context in which ``Muon.step`` orthogonalises matrices on the CPU in float32."""
    return _Float32()
