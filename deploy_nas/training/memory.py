"""Memory that a training process keeps instead of giving it back each step, in huge pages."""

from __future__ import annotations

import os
import sys

# Every step asks for the same large tensors. By default glibc gives such memory back and asks for it
# anew, and the page faults of that are a third of a step on a CPU. In small pages, looking their addresses
# up is another fifth.
_GLIBC = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TOP_PAD_": "3000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
}


def keep_memory() -> None:
    """Start this script again with glibc told so, unless it was: it reads these at a process's start only."""
    if sys.platform == "linux" and not _GLIBC.keys() <= os.environ.keys():
        command = [sys.executable, *sys.argv]
        os.execve(command[0], command, {**_GLIBC, **os.environ})  # noqa: S606 - this very script
