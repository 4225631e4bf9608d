"""Whether torchrun started this process as one of several that train together; loads no PyTorch."""

from __future__ import annotations

import os
from dataclasses import dataclass

from deploy_nas.core.errors import OptionError

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """One of several processes.

    Args:
        rank: its number among all, from 0.
        size: how many there are.
        local_rank: its number among those of this machine.
    """

    rank: int
    size: int
    local_rank: int


def launched() -> Launch | None:
    """The place of this process, as torchrun puts it into its environment; ``None``: it trains alone.

    Raises:
        OptionError: the environment says something impossible.
    """
    if not all(name in os.environ for name in (*_NAMES, "MASTER_ADDR", "MASTER_PORT")):
        return None
    said = [os.environ[name] for name in _NAMES]
    if not all(value.isdecimal() and len(value) < 10 for value in said):
        raise OptionError(f"are {', '.join(said)}, not numbers", subject=", ".join(_NAMES))
    rank, size, local_rank = map(int, said)
    if rank >= max(1, size):
        raise OptionError(f"is {rank}, of {size} processes", subject="RANK")
    return Launch(rank=rank, size=size, local_rank=local_rank) if size > 1 else None


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    here = launched()
    return here is None or here.rank == 0
