"""The pool port: one function on many items. Its contract is ``deploy_nas.testing.pools``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from deploy_nas.adapters.pools.arrays import NONE, Arrays

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pool(Protocol):
    """Maps a function over items, results in the items' order."""

    @property
    def local(self) -> bool:
        """Whether the function runs in this process, so that nothing is pickled."""

    def open(
        self, make: Callable[[Arrays], Callable[[Item], Result]], arrays: Arrays = NONE
    ) -> AbstractContextManager[Callable[[Sequence[Item]], Iterable[Result]]]:
        """Start the workers; the context's value maps items to results, one by one, in order.

        Args:
            make: called with the arrays, at least once per worker; returns the function.
            arrays: what every worker reads; they are not copied for each.

        Raises:
            DeployNASError: the first one from ``make`` or its function, raised when its item's turn comes.
            OptionError: a worker process died, or a cluster is lost.
        """
