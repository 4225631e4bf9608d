"""One function of torch done another way, whatever module asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode


class Instead(TorchFunctionMode):
    """A context in which calls of ``function`` that ``fits`` accepts go to ``other``."""

    def __init__(
        self, function: Callable[..., Any], fits: Callable[..., bool], other: Callable[..., Any]
    ) -> None:
        super().__init__()
        self.function, self.fits, self.other = function, fits, other

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is self.function and self.fits(*args, **kwargs):
            return self.other(*args, **kwargs)
        return func(*args, **kwargs)
