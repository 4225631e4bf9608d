"""The pool port: one function on many items. Its contract is ``deploy_nas.testing.pools``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pool(Protocol):
    """Maps a function over items, results in the items' order."""

    @property
    def local(self) -> bool:
        """Whether the function runs in this process, so that nothing is pickled."""

    def open(
        self, make: Callable[[], Callable[[Item], Result]]
    ) -> AbstractContextManager[Callable[[Sequence[Item]], Iterable[Result]]]:
        """Start the workers; the context's value maps items to results, one by one, in order.

        Args:
            make: called once per worker; returns the function.

        Raises:
            DeployNASError: the first one from ``make`` or its function, raised when its item's turn comes.
            OptionError: a worker process died.
        """
