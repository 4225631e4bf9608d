"""Settings of a process that trains: memory stays allocated between steps, and waiting threads yield."""

from __future__ import annotations

import os
import sys

# Every step allocates the same large tensors. By default glibc returns such memory to the system and requests
# it again, and the page faults take a third of a step on a CPU. With small pages, address translation takes
# another fifth.
_GLIBC = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TOP_PAD_": "3000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
}


def keep_memory() -> None:
    """Restart this script with these settings of glibc, which reads them only when a process starts."""
    if sys.platform == "linux" and not _GLIBC.keys() <= os.environ.keys():
        command = [sys.executable, *sys.argv]
        os.execve(command[0], command, {**_GLIBC, **os.environ})  # noqa: S606 - this very script


def yield_cores() -> None:
    """Have threads that wait for each other give up their core, unless the user chose otherwise.

    OpenMP reads this when torch is first imported. Beside another busy process a step is then 1.6 times as
    fast; alone it is as fast as without.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
