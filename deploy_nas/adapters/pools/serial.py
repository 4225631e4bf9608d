"""A pool with this process as its only worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from deploy_nas.adapters.pools.arrays import NONE, Arrays
from deploy_nas.adapters.pools.port import Item, Result


class SerialPool:
    """Calls the function in this process, one item at a time, when its result is requested."""

    local = True

    @contextmanager
    def open(
        self, make: Callable[[Arrays], Callable[[Item], Result]], arrays: Arrays = NONE
    ) -> Iterator[Callable[[Sequence[Item]], Iterable[Result]]]:
        """Make the function; arguments and errors as :class:`Pool` has them."""
        yield partial(map, make(arrays))
