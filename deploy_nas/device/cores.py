"""The processor cores: which are fast, which are quiet, and how much of them a quota leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy_nas.device.cgroups import ROOT, cgroups, lines, number

FAST, SLOW = "fast", "slow"
_CPUS = "sys/devices/system/cpu"
_ALIKE = 0.9  # of the fastest: favoured cores of one kind differ by a few percent
_SAMPLE_S = 0.1
_SIBLING = 0.5  # how much the work of another hardware thread of a core counts


def quota_cores(root: Path = ROOT) -> float | None:
    """Processor time that cgroups allow this process, in cores, as ``docker --cpus`` sets; ``None``: any."""
    found = []
    for group in cgroups("cpu", root):
        if group.version == 2:
            words = "".join(lines(group.folder / "cpu.max")).split()
            quota, period = words if len(words) == 2 else ("max", "0")
        else:
            quota = "".join(lines(group.folder / "cpu.cfs_quota_us"))
            period = "".join(lines(group.folder / "cpu.cfs_period_us"))
        if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
            found.append(int(quota) / int(period))
    return min(found, default=None)


def speeds(root: Path = ROOT) -> dict[int, float]:
    """Speed of each core of the machine relative to the fastest, as far as the system says it.

    Hybrid processors have cores of two or three kinds.
    """
    for file in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        found = {core: number(folder / file) for core, folder in _folders(root).items()}
        known = {core: value for core, value in found.items() if value}
        if known and len(known) == len(found):
            most = max(known.values())
            return {core: value / most for core, value in known.items()}
    return {}


def kind(allowed: Sequence[int], root: Path = ROOT) -> str | None:
    """The kind of the fastest core among those allowed, "fast" or "slow"; ``None``: all cores are alike."""
    found = speeds(root)
    if not found or min(found.values()) >= _ALIKE:
        return None
    return FAST if max((found.get(core, 1.0) for core in allowed), default=1.0) >= _ALIKE else SLOW


def loads(root: Path = ROOT, sleep: Callable[[float], None] = time.sleep) -> dict[int, float]:
    """How busy each core is now, 0 to 1; the work of another hardware thread of the same core counts half."""
    before = _ticks(root)
    sleep(_SAMPLE_S)
    after = _ticks(root)
    own = {}
    for core in before.keys() & after.keys():
        total, idle = (b - a for a, b in zip(before[core], after[core], strict=True))
        own[core] = min(1.0, max(0.0, 1.0 - idle / total)) if total > 0 else 0.0
    result = {}
    for core, load in own.items():
        beside = [own.get(other, 0.0) for other in _siblings(root, core) if other != core]
        result[core] = load + _SIBLING * max(beside, default=0.0)
    return result


def choose(
    threads: int,
    allowed: Sequence[int],
    fast: Mapping[int, float],
    busy: Mapping[int, float],
    beside: Mapping[int, Sequence[int]] | None = None,
) -> tuple[int, ...]:
    """The cores for so many threads, the best one last: the fast ones, of these the quiet ones.

    Of cores that are alike the last ones are taken: systems serve their devices on the first. Two hardware
    threads of one core are taken together only where no other core of that speed is as quiet.

    Args:
        threads: how many; at most as many as ``allowed``.
        allowed: the cores that may be taken.
        fast: speed of each core (:func:`speeds`).
        busy: load of each core (:func:`loads`).
        beside: the hardware threads that share each core (:func:`hardware_threads`).
    """
    left, taken = list(allowed), list[int]()

    def rank(core: int) -> tuple[float, float, int]:
        speed = fast.get(core, 1.0)
        shared = any(other in taken for other in (beside or {}).get(core, ()))
        load = busy.get(core, 0.0) + (_SIBLING if shared else 0.0)
        return (1.0 if speed >= _ALIKE else round(speed, 1), -round(load, 1), core)

    for _ in range(threads):
        taken.append(max(left, key=rank))
        left.remove(taken[-1])
    return tuple(reversed(taken))


def hardware_threads(root: Path = ROOT) -> dict[int, list[int]]:
    """The hardware threads that share each core, itself among them, as far as the system says it."""
    return {core: _siblings(root, core) for core in _folders(root)}


def _folders(root: Path) -> dict[int, Path]:
    """The folders of the cores that are switched on: of others the system knows neither speed nor load."""
    found = {}
    for folder in (root / _CPUS).glob("cpu[0-9]*"):
        if folder.name[3:].isdigit() and number(folder / "online") != 0:
            found[int(folder.name[3:])] = folder
    return found


def _ticks(root: Path) -> dict[int, tuple[int, int]]:
    """All and idle ticks of each core since the start."""
    found = {}
    for line in lines(root / "proc/stat"):
        name, *rest = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and len(rest) >= 5:
            ticks = [int(word) for word in rest[:8]]
            found[int(name[3:])] = (sum(ticks), ticks[3] + ticks[4])
    return found


def _siblings(root: Path, core: int) -> list[int]:
    """The hardware threads that share a core, from a list such as "0,4" or "0-1"."""
    found: list[int] = []
    for part in "".join(lines(root / f"{_CPUS}/cpu{core}/topology/thread_siblings_list")).split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (last or first).isdigit():
            found.extend(range(int(first), int(last or first) + 1))
    return found
