"""Keeps a training process's memory allocated between steps, in huge pages."""

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
