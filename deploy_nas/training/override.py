"""Overrides one function of torch, wherever it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode


class FunctionOverride(TorchFunctionMode):
    """A context in which calls of ``function`` go to ``replacement`` if ``applies`` accepts them."""

    def __init__(
        self, function: Callable[..., Any], applies: Callable[..., bool], replacement: Callable[..., Any]
    ) -> None:
        super().__init__()
        self.function, self.applies, self.replacement = function, applies, replacement

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is self.function and self.applies(*args, **kwargs):
            return self.replacement(*args, **kwargs)
        return func(*args, **kwargs)
