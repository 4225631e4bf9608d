"""The pool of this process alone."""

import os

import pytest

from deploy_nas.adapters.pools import ProcessPool, SerialPool, pool_of
from deploy_nas.core.errors import OptionError
from deploy_nas.testing.pools import PoolContract


class TestSerialPool(PoolContract):
    def make(self) -> SerialPool:
        return SerialPool()


def test_it_runs_here_and_pickles_nothing() -> None:
    with SerialPool().open(lambda arrays: lambda item: (os.getpid(), item)) as run:
        assert list(run(["a"])) == [(os.getpid(), "a")]


def test_one_worker_is_this_process() -> None:
    assert isinstance(pool_of(1), SerialPool)
    several = pool_of(3)
    assert isinstance(several, ProcessPool) and several.workers == 3
    with pytest.raises(OptionError, match="workers: must be at least 1, is 0"):
        pool_of(0)


def test_windows_has_this_process_alone(monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        found = pool_of(3)
    assert isinstance(found, SerialPool)
