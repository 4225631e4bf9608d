"""The contract of :class:`deploy_nas.adapters.pools.Pool`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import pytest

from deploy_nas.adapters.pools import Pool
from deploy_nas.core.errors import ImagesError


@dataclass(frozen=True)
class Doubler:
    """Makes a function that doubles, the slower the smaller the item; one item is a fault."""

    fault: int = -1

    def __call__(self) -> Callable[[int], int]:
        """The function."""
        return self.work

    def work(self, item: int) -> int:
        """Twice the item; :class:`ImagesError` for the fault."""
        if item == self.fault:
            raise ImagesError("is bad", subject=str(item), hint="leave it out")
        time.sleep(0.02 / (1 + item))
        return 2 * item


@dataclass(frozen=True)
class Unmade:
    """Fails to make a function."""

    def __call__(self) -> Callable[[int], int]:
        """Always :class:`ImagesError`."""
        raise ImagesError("cannot be made")


class PoolContract:
    """Subclass it and override :meth:`make`."""

    def make(self) -> Pool:
        """A pool to test."""
        raise NotImplementedError

    def test_results_come_in_the_items_order(self) -> None:
        """Whatever order the workers finish in; an open pool takes items again and again."""
        with self.make().open(Doubler()) as run:
            assert list(run(range(12))) == list(range(0, 24, 2))
            assert list(run([7])) == [14]
            assert list(run([])) == []

    def test_results_come_one_by_one(self) -> None:
        """The first can be kept before the last is begun."""
        with self.make().open(Doubler(fault=9)) as run:
            assert list(islice(run(range(10)), 3)) == [0, 2, 4]

    def test_a_fault_comes_in_its_turn_and_as_it_is(self) -> None:
        """Results before it are not lost, and its message, subject and hint are its own."""
        with self.make().open(Doubler(fault=3)) as run:
            results = iter(run(range(9)))
            assert list(islice(results, 3)) == [0, 2, 4]
            with pytest.raises(ImagesError, match="3: is bad; leave it out"):
                next(results)

    def test_a_function_that_cannot_be_made_is_a_fault_of_opening(self) -> None:
        """Before any item is taken."""
        with pytest.raises(ImagesError, match="cannot be made"), self.make().open(Unmade()):
            pass
