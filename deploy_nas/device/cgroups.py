"""The cgroups of this process, as Linux mounts them; containers limit memory and processor time by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A cgroup of this process or an ancestor of it: the folder of its files, and the version (1 or 2)."""

    folder: Path
    version: int


def cgroups(controller: str, root: Path = ROOT) -> Iterator[Cgroup]:
    """Every cgroup that may limit this process by a controller ("memory", "cpu"), innermost first.

    Args:
        controller: by its name in version 1, where each has a tree of its own.
        root: the folder that holds ``proc`` and ``sys``.
    """
    for line in lines(root / "proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            mount, version = "sys/fs/cgroup", 2
        elif controller in controllers.split(","):
            mount, version = f"sys/fs/cgroup/{controller}", 1
        else:
            continue
        # A container sees its own cgroup as the root, with or without the path that the host has for it.
        relative = PurePosixPath(path.lstrip("/"))
        for part in (relative, *relative.parents):
            yield Cgroup(root / mount / part, version)


def lines(path: Path) -> list[str]:
    """The lines of a file; none if it cannot be read."""
    try:
        return path.read_text().splitlines()
    except (OSError, ValueError):
        return []


def number(path: Path) -> int | None:
    """The whole number in a file; ``None`` without one, as where it says "max"."""
    text = "".join(lines(path))
    return int(text) if text.isdigit() else None
