"""Pools of workers that process items."""

from __future__ import annotations

import os

from deploy_nas.adapters.pools.arrays import Arrays
from deploy_nas.adapters.pools.cluster import ClusterPool, check_cluster
from deploy_nas.adapters.pools.port import Pool
from deploy_nas.adapters.pools.processes import ProcessPool
from deploy_nas.adapters.pools.serial import SerialPool
from deploy_nas.core.errors import OptionError

__all__ = ["Arrays", "ClusterPool", "Pool", "ProcessPool", "SerialPool", "check_cluster", "pool_of"]


def pool_of(workers: int) -> Pool:
    """A pool of ``workers`` processes; a single worker is this process, and so are those of Windows.

    Raises:
        OptionError: fewer than one worker.
    """
    if workers < 1:
        raise OptionError(f"must be at least 1, is {workers}", subject="workers")
    if workers == 1 or os.name != "posix":  # elsewhere a process cannot be given a pipe by its number
        return SerialPool()
    return ProcessPool(workers)
