"""From a network's layers back to the architecture of a space that has exactly these."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deploy_nas.core.layers import Layer
from deploy_nas.core.space import IntArray, Space


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """What was found.

    Args:
        choices: index of each gene's choice, those that do not matter 0; ``None``: there is none.
        matched: how many of the layers, from the first on, some architecture of the space has.
        place: slot of the first layer that none has; empty where all match.
    """

    choices: IntArray | None
    matched: int
    place: str = ""


def match_layers(space: Space, image_size: int, layers: Sequence[Layer]) -> Match:
    """The space's architecture with these layers, found slot by slot.

    Args:
        space: the search space.
        image_size: the layers' own; the space need not offer it.
        layers: in order.
    """
    chosen = np.full(len(space.genes), -1, dtype=np.int64)
    best = 0
    place = space.slots[0].name

    def walk(slot_number: int, position: int) -> bool:
        nonlocal best, place
        if slot_number == len(space.slots):
            return position == len(layers)
        slot = space.slots[slot_number]
        if position > best:
            best, place = position, slot.name
        open_genes = [g for g in slot.genes if chosen[g] < 0]
        absent_seen = False
        for values in itertools.product(*(range(len(space.genes[g].choices)) for g in open_genes)):
            chosen[open_genes] = values
            layer = slot.build(image_size, *(space.genes[g].choices[int(chosen[g])] for g in slot.genes))
            if layer is None:
                # Whatever an absent block's own choices are: once is enough, unless they may matter later.
                if absent_seen and all(_only_here(space, g) for g in open_genes):
                    continue
                absent_seen = True
                if walk(slot_number + 1, position):
                    return True
            elif (
                position < len(layers)
                and layer.key == layers[position].key
                and walk(slot_number + 1, position + 1)
            ):
                return True
        chosen[open_genes] = -1
        return False

    if walk(0, 0):
        return Match(choices=np.maximum(chosen, 0), matched=len(layers))
    return Match(choices=None, matched=best, place=place)


def _only_here(space: Space, gene: int) -> bool:
    return sum(gene in slot.genes for slot in space.slots) == 1
