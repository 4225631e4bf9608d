"""Calls functions of fixed shapes repeatedly, on a GPU each as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch

Function = Callable[..., tuple[torch.Tensor, ...]]


class Replay:
    """Calls functions; on a GPU it records each once, then replays it.

    A subnet's pass is a thousand small kernels: launching them takes three times as long as running them.

    Args:
        device: the functions' device; on a CPU they are simply called.
        state: returns the tensors that functions write besides their results (gradients, statistics,
            moments). Recording leaves them as they were, and new ones at zero.
        alone: whether no other process takes part in the functions; what those exchange is not recorded.
    """

    def __init__(
        self, device: torch.device, state: Callable[[], Sequence[torch.Tensor]], *, alone: bool = True
    ) -> None:
        self.device, self.state, self.alone = device, state, alone
        self.recorded: dict[Hashable, tuple[Any, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]] = {}
        self.pool: Any = None

    @property
    def records(self) -> bool:
        """Whether functions are recorded; the tensors they write must then stay in place."""
        return self.device.type == "cuda" and self.alone

    def __call__(
        self, key: Hashable | None, function: Function, *inputs: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return ``function(*inputs)``.

        ``key`` identifies the function, its modes and its shapes. Without a key it is only called.
        """
        if not self.records or key is None:
            return function(*inputs)
        if key not in self.recorded:
            self.recorded[key] = self._record(function, inputs)
        graph, own, outputs = self.recorded[key]
        for mine, given in zip(own, inputs, strict=True):
            mine.copy_(given)
        graph.replay()
        return tuple(output.clone() for output in outputs)  # the next graph may overwrite them

    def _record(self, function: Function, inputs: tuple[torch.Tensor, ...]) -> Any:
        before = {id(tensor): (tensor, tensor.detach().clone()) for tensor in self.state()}
        own = tuple(given.clone() for given in inputs)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # libraries choose and load their kernels in the first call
                function(*own)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        with torch.cuda.graph(graph, pool=self.pool):
            outputs = function(*own)
        with torch.no_grad():
            for tensor in self.state():
                _, kept = before.get(id(tensor), (tensor, None))
                tensor.zero_() if kept is None else tensor.copy_(kept)
        return graph, own, outputs
