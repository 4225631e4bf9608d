"""Single changes of one architecture, with the latency each saves and the accuracy it loses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from deploy_nas.core.space import FloatArray, IntArray, Space
from deploy_nas.search.operators import Variation

Batch = Callable[[IntArray], ArrayLike]


@dataclass(frozen=True, kw_only=True, slots=True)
class Swap:
    """One change.

    Args:
        what: the change in words.
        encoded: the changed architecture, int64 ``[1 + genes]``.
        saved_ms: predicted latency saved.
        lost: predicted accuracy lost, in the predictor's unit; negative for a gain.
    """

    what: str
    encoded: IntArray
    saved_ms: float
    lost: float


def swaps(
    space: Space,
    encoded: IntArray,
    latency_ms: Batch,
    accuracy: Batch,
    *,
    image_sizes: tuple[int, ...],
    least_ms: float = 0.0,
) -> list[Swap]:
    """All single changes that save more than ``least_ms``, by accuracy lost per ms saved, ascending.

    Args:
        space: space of the architecture.
        encoded: the architecture, int64 ``[1 + genes]``.
        latency_ms: encoded ``[n, 1 + genes]`` to predicted latency ``[n]``.
        accuracy: encoded ``[n, 1 + genes]`` to predicted accuracy ``[n]``, higher is better.
        image_sizes: image sizes that may be chosen, pixels.
        least_ms: changes that save no more than this are left out.
    """
    base = space.canonical(encoded)
    near = Variation(space, image_sizes).neighbours(base)
    if not len(near):
        return []
    rows = np.concatenate([base, near])
    ms, acc = (np.asarray(f(rows), dtype=np.float64).reshape(-1) for f in (latency_ms, accuracy))
    saved, lost = ms[0] - ms[1:], acc[0] - acc[1:]
    index = np.flatnonzero(saved > max(least_ms, 0.0))
    order = index[np.lexsort((-saved[index], _price(lost[index], saved[index])))]
    return [
        Swap(
            what=_description(space, base[0], near[i]),
            encoded=near[i],
            saved_ms=float(saved[i]),
            lost=float(lost[i]),
        )
        for i in order
    ]


def _price(lost: FloatArray, saved: FloatArray) -> FloatArray:
    """Accuracy lost per ms saved; negative where accuracy is gained, so that the largest gains sort first."""
    return np.where(lost > 0, lost / saved, lost)


def _description(space: Space, before: IntArray, after: IntArray) -> str:
    """Such as ``stage3.block2: ks 5 to 3, e 6 to 4``, ``stage3: d 4 to 3`` or ``image size 192 to 176``."""
    if before[0] != after[0]:
        return f"image size {space.image_sizes[before[0]]} to {space.image_sizes[after[0]]}"
    active = np.logical_and(*space.active(np.stack([before, after])))
    changed = [g for g in range(len(space.genes)) if before[1 + g] != after[1 + g] and active[g]]
    location = _location(space, changed)
    parts = []
    for g in changed:
        gene = space.genes[g]
        name = gene.key if location else f"{gene.key}[{gene.index}]"
        parts.append(f"{name} {gene.choices[before[1 + g]]} to {gene.choices[after[1 + g]]}")
    return f"{location}: {', '.join(parts)}" if location else ", ".join(parts)


def _location(space: Space, changed: list[int]) -> str:
    """The slot, else the stage, that holds all the genes; empty where several stages do."""
    slots = [slot.name for slot in space.slots if changed and set(changed) <= set(slot.genes)]
    if len(slots) == 1:
        return slots[0]
    stages = {name.partition(".")[0] for name in slots}
    return stages.pop() if len(stages) == 1 else ""
