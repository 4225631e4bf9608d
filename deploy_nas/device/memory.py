"""Memory that this process may still take, as Linux and its containers limit it; ``None`` if they do not say.

A container's limit is not in ``/proc/meminfo``: a process that takes more is killed without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deploy_nas.device.cgroups import ROOT, cgroups, lines, number

_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


def available_bytes(root: Path = ROOT) -> int | None:
    """The least of what the machine has available and what each cgroup of this process leaves, bytes.

    Args:
        root: the folder that holds ``proc`` and ``sys``.
    """
    found = list(_cgroups(root))
    for line in lines(root / "proc/meminfo"):
        key, _, value = line.partition(":")
        if key == "MemAvailable" and value.split()[:1]:
            found.append(int(value.split()[0]) * 1024)
    return max(0, min(found)) if found else None


def is_in_memory(folder: Path, root: Path = ROOT) -> bool:
    """True if the folder's file system keeps its files in memory, as some systems' /tmp does."""
    path, best, kind = folder.resolve(), -1, ""
    for line in lines(root / "proc/self/mounts"):
        words = line.split()
        if len(words) > 2 and path.is_relative_to(words[1]) and len(words[1]) >= best:
            best, kind = len(words[1]), words[2]
    return kind in _IN_MEMORY


def _cgroups(root: Path) -> Iterator[int]:
    """Memory that each limit on this process' cgroups leaves, in version 2 (unified) and version 1, bytes."""
    for group in cgroups("memory", root):
        if group.version == 2:
            limit, usage, cache = "memory.max", "memory.current", "inactive_file"
        else:
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file"
        most, used = number(group.folder / limit), number(group.folder / usage)
        if most is not None and used is not None:
            yield most - used + _reclaimable(group.folder / "memory.stat", cache)


def _reclaimable(path: Path, key: str) -> int:
    """Cached files, which count as used but are dropped as soon as memory is short."""
    for line in lines(path):
        name, _, value = line.partition(" ")
        if name == key and value.isdigit():
            return int(value)
    return 0
