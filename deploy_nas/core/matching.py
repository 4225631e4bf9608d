"""The inverse of ``Space.layers``: from a network's layers to the architecture that has exactly these."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deploy_nas.core.layers import Layer, SqueezeExcite
from deploy_nas.core.space import IntArray, Space


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """The result of a match.

    Args:
        choices: index of each gene's choice, 0 for inactive genes; int64 ``[genes]``; ``None``: no match.
        matched: length of the longest prefix of the layers that an architecture of the space has.
        slot: name of the slot after that prefix; empty where all layers match.
    """

    choices: IntArray | None
    matched: int
    slot: str = ""


def match_layers(
    space: Space, image_size: int, layers: Sequence[Layer], *, any_squeeze: bool = False
) -> Match:
    """The space's architecture with these layers, found by depth-first search over the slots.

    Args:
        space: the search space.
        image_size: image size of the layers, pixels; the space need not offer it.
        layers: the network's layers in order.
        any_squeeze: the middle channels of squeeze-and-excitation are not known of the layers.
    """
    key = _key_of_any_squeeze if any_squeeze else _key
    keys = [key(layer) for layer in layers]
    chosen = np.full(len(space.genes), -1, dtype=np.int64)
    matched = 0
    first_unmatched = space.slots[0].name

    def walk(slot_number: int, position: int) -> bool:
        nonlocal matched, first_unmatched
        if slot_number == len(space.slots):
            return position == len(layers)
        slot = space.slots[slot_number]
        if position > matched:
            matched, first_unmatched = position, slot.name
        open_genes = [g for g in slot.genes if chosen[g] < 0]
        absent_seen = False
        for values in itertools.product(*(range(len(space.genes[g].choices)) for g in open_genes)):
            chosen[open_genes] = values
            layer = slot.build(image_size, *(space.genes[g].choices[int(chosen[g])] for g in slot.genes))
            if layer is None:
                # The choices of an absent block are equivalent, unless another slot depends on them too.
                if absent_seen and all(_in_one_slot(space, g) for g in open_genes):
                    continue
                absent_seen = True
                if walk(slot_number + 1, position):
                    return True
            elif (
                position < len(layers)
                and key(layer) == keys[position]
                and walk(slot_number + 1, position + 1)
            ):
                return True
        chosen[open_genes] = -1
        return False

    if walk(0, 0):
        return Match(choices=np.maximum(chosen, 0), matched=len(layers))
    return Match(choices=None, matched=matched, slot=first_unmatched)


def _key(layer: Layer) -> str:
    return layer.key


def _key_of_any_squeeze(layer: Layer) -> str:
    ops = [replace(op, mid_channels=1) if isinstance(op, SqueezeExcite) else op for op in layer.ops]
    return replace(layer, ops=tuple(ops)).key


def _in_one_slot(space: Space, gene: int) -> bool:
    return sum(gene in slot.genes for slot in space.slots) == 1
