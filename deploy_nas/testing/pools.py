"""The contract of :class:`deploy_nas.adapters.pools.Pool`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest

from deploy_nas.adapters.pools import Arrays, Pool
from deploy_nas.core.errors import ImagesError


@dataclass(frozen=True)
class Doubler:
    """Makes a function that doubles its item, more slowly for smaller items, and fails for ``fault``."""

    fault: int = -1

    def __call__(self, arrays: Arrays) -> Callable[[int], int]:
        """The function."""
        return self.work

    def work(self, item: int) -> int:
        """Twice the item; :class:`ImagesError` for the fault."""
        if item == self.fault:
            raise ImagesError("is bad", subject=str(item), hint="leave it out")
        time.sleep(0.02 / (1 + item))
        return 2 * item


@dataclass(frozen=True)
class Looker:
    """Makes a function that looks an item up in an array that all workers have."""

    def __call__(self, arrays: Arrays) -> Callable[[int], int]:
        """The function."""
        return lambda item: int(arrays["found"][item])


@dataclass(frozen=True)
class Unmade:
    """Fails when it is to make a function."""

    def __call__(self, arrays: Arrays) -> Callable[[int], int]:
        """Always :class:`ImagesError`."""
        raise ImagesError("cannot be made")


class PoolContract:
    """Subclass it and override :meth:`make`."""

    def make(self) -> Pool:
        """A pool to test."""
        raise NotImplementedError

    def test_results_come_in_the_items_order(self) -> None:
        """Results are in order however the workers finish, and an open pool can be used repeatedly."""
        with self.make().open(Doubler()) as run:
            assert list(run(range(12))) == list(range(0, 24, 2))
            assert list(run([7])) == [14]
            assert list(run([])) == []

    def test_results_come_one_by_one(self) -> None:
        """The first results are available before the last item is started."""
        with self.make().open(Doubler(fault=9)) as run:
            assert list(islice(run(range(10)), 3)) == [0, 2, 4]

    def test_a_fault_is_raised_in_its_turn_unchanged(self) -> None:
        """Results before the fault are kept, and its message, subject and hint are unchanged."""
        with self.make().open(Doubler(fault=3)) as run:
            results = iter(run(range(9)))
            assert list(islice(results, 3)) == [0, 2, 4]
            with pytest.raises(ImagesError, match="3: is bad; leave it out"):
                next(results)

    def test_all_workers_have_the_arrays(self) -> None:
        """They reach the function as they are, wherever it runs."""
        with self.make().open(Looker(), {"found": np.arange(10) ** 2}) as run:
            assert list(run(range(5))) == [0, 1, 4, 9, 16]

    def test_opening_fails_if_the_function_cannot_be_made(self) -> None:
        """The error comes before any item is processed."""
        with pytest.raises(ImagesError, match="cannot be made"), self.make().open(Unmade()):
            pass
