"""Checks the whole declaration of a space before anything relies on it: another package's may be wrong."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from deploy_nas.core.layers import Layer
from deploy_nas.core.resources import Download, OwnFile, Resource
from deploy_nas.core.seals import DIGEST, LINE
from deploy_nas.core.space import TUTORIAL_SIZE, Gene, Slot, Space

_MOST_SIDE = 4096
_MOST_CLASSES = 1_000_000
_MOST_GENES = 10_000
_MOST_CHOICES = 1_000_000  # of a slot: each is a row to be built
# Keys that stand beside the genes in dicts and files of architectures.
_RESERVED = frozenset({"image_size", TUTORIAL_SIZE, "space", "predicted", "measured", "top1", DIGEST, LINE})


def check_space(space: object) -> Space:
    """The space, if its declaration is whole; it builds every layer once.

    Raises:
        TypeError: it is something else, or a part has another type.
        ValueError: a part has a value that cannot be; both say which.
    """
    if not isinstance(space, Space):
        raise TypeError(f"it returned {type(space).__name__}, not a Space")
    _check_texts(space)
    _check_sizes(space)
    _whole(space.classes, "classes", 1, _MOST_CLASSES)
    if space.labels and len(space.labels) != space.classes:
        raise ValueError(f"labels: {len(space.labels)} names of {space.classes} classes")
    _check_normalisation(space)
    _check_supernet(space.supernet)
    _check_files(space)
    genes = _tuple(space.genes, Gene, "genes")
    if len(genes) > _MOST_GENES:
        raise ValueError(f"genes: {len(genes)}, at most {_MOST_GENES} are possible")
    for number, gene in enumerate(genes):
        _check_gene(gene, number, genes)
    _check_keys(genes)
    _check_slots(space, genes)
    _check_layers(space)
    return space


def _check_texts(space: Space) -> None:
    for name in ("id", "summary"):
        _text(getattr(space, name), name)
    for number, label in enumerate(_tuple(space.labels, str, "labels")):
        _text(label, f"labels[{number}]")


def _check_sizes(space: Space) -> None:
    for name in ("image_sizes", "profile_image_sizes"):
        sizes = _tuple(getattr(space, name), int, name)
        if not sizes:
            raise ValueError(f"{name}: is empty")
        for number, size in enumerate(sizes):
            _whole(size, f"{name}[{number}]", 1, _MOST_SIDE)
        if list(sizes) != sorted(set(sizes)):
            raise ValueError(f"{name}: {list(sizes)} are not ascending")
    if odd := sorted(set(space.profile_image_sizes) - set(space.image_sizes)):
        raise ValueError(f"profile_image_sizes: {odd[0]} is not one of image_sizes")


def _check_normalisation(space: Space) -> None:
    for name, least in (("mean", -math.inf), ("std", 0.0)):
        values = _tuple(getattr(space, name), (int, float), name)
        if len(values) != 3:
            raise ValueError(f"{name}: {len(values)} numbers, 3 channels")
        for number, value in enumerate(values):
            if not math.isfinite(value) or value <= least:
                raise ValueError(f"{name}[{number}]: {value!r} cannot be")


def _check_supernet(supernet: object) -> None:
    if not isinstance(supernet, Mapping):
        raise TypeError(f"supernet: must be a mapping, is {type(supernet).__name__}")
    if any(not isinstance(key, str) for key in supernet):
        raise TypeError("supernet: has a key that is not a string")
    _text(supernet.get("class"), "supernet['class']")


def _check_files(space: Space) -> None:
    kinds: dict[str, tuple[type, ...]] = {
        "default_weights": (Resource, OwnFile),
        "default_predictor": (Resource, OwnFile),
        "published_weights": (Download,),
        "base": (Space,),
    }
    for name, allowed in kinds.items():
        value = getattr(space, name)
        if value is not None and not isinstance(value, allowed):
            raise TypeError(f"{name}: must be {allowed[0].__name__}, is {type(value).__name__}")


def _check_gene(gene: Gene, number: int, genes: Sequence[Gene]) -> None:
    where = f"genes[{number}]"
    _text(gene.key, f"{where}.key")
    if gene.key in _RESERVED:
        raise ValueError(f"{where}.key: {gene.key!r} has a meaning of its own")
    if gene.index is not None:
        _whole(gene.index, f"{where}.index", 0, _MOST_GENES)
    choices = _numbers(gene.choices, f"{where}.choices")
    if not choices or list(choices) != sorted(set(choices)):
        raise ValueError(f"{where}.choices: {list(choices)!r:.60} are not ascending numbers")
    _numbers(gene.same, f"{where}.same")
    if gene.gate is None:
        return
    if not isinstance(gene.gate, tuple) or len(gene.gate) != 2:
        raise TypeError(f"{where}.gate: must be a gene's number and a choice's, is {gene.gate!r:.60}")
    other, least = gene.gate
    _whole(other, f"{where}.gate[0]", 0, len(genes) - 1)
    if other == number:
        raise ValueError(f"{where}.gate[0]: names the gene itself")
    _whole(least, f"{where}.gate[1]", 0, len(genes[other].choices) - 1)


def _check_keys(genes: Sequence[Gene]) -> None:
    indices: dict[str, list[int | None]] = {}
    for gene in genes:
        indices.setdefault(gene.key, []).append(gene.index)
    for key, found in indices.items():
        if found not in ([None], list(range(len(found)))):
            raise ValueError(f"genes: the indices of {key!r} are {found!r:.60}, not 0, 1, 2 and so on")


def _check_slots(space: Space, genes: Sequence[Gene]) -> None:
    slots = _tuple(space.slots, Slot, "slots")
    if not slots:
        raise ValueError("slots: is empty")
    for number, slot in enumerate(slots):
        where = f"slots[{number}]"
        _text(slot.name, f"{where}.name")
        for place, gene in enumerate(_tuple(slot.genes, int, f"{where}.genes")):
            _whole(gene, f"{where}.genes[{place}]", 0, len(genes) - 1)
        if len(set(slot.genes)) < len(slot.genes):
            raise ValueError(f"{where}.genes: names a gene twice")
        if not callable(slot.build):
            raise TypeError(f"{where}.build: is not a function")
        choices = len(space.image_sizes) * math.prod(len(genes[g].choices) for g in slot.genes)
        if choices > _MOST_CHOICES:
            raise ValueError(f"{where}: has {choices} choices, at most {_MOST_CHOICES} are possible")
    if len({slot.name for slot in slots}) < len(slots):
        raise ValueError("slots: two have the same name")


def _check_layers(space: Space) -> None:
    """Every layer can be built and has figures, and the ends of the space are networks."""
    for slot in space.slots:
        first = [space.genes[g].choices[0] for g in slot.genes]
        layer = slot.build(space.image_sizes[0], *first)
        if layer is not None and not isinstance(layer, Layer):
            raise TypeError(f"slot {slot.name}: build returned {type(layer).__name__}, not a Layer")
    for layer in space.rows:
        for name, side in (("in_size", layer.in_size), ("out_size", layer.out_size)):
            _whole(side, f"layer {layer.key}: {name}", 1, _MOST_SIDE)
        for name, figure in (("MACs", layer.macs), ("parameters", layer.params)):
            _whole(figure, f"layer {layer.key}: {name}", 0, 2**62)
    for architecture in (space.smallest(), space.largest()):
        _check_network(space, space.layers(architecture))


def _check_network(space: Space, layers: Sequence[tuple[str, Layer]]) -> None:
    if not layers:
        raise ValueError("slots: the smallest or largest subnet has no layer")
    for (_, before), (name, after) in itertools.pairwise(layers):
        given, taken = (before.out_channels, before.out_size), (after.in_channels, after.in_size)
        if given != taken:
            there = f"{taken[0]} channels of {taken[1]} pixels"
            raise ValueError(f"slot {name}: takes {there} and is given {given[0]} of {given[1]}")
    name, last = layers[-1]
    if last.out_channels != space.classes:
        raise ValueError(f"slot {name}: ends in {last.out_channels} of {space.classes} classes")


def _text(value: object, name: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name}: must be a string, is {type(value).__name__}")
    if not value or not value.isprintable():
        raise ValueError(f"{name}: {value!r:.60} is empty or has characters that cannot be shown")


def _whole(value: object, name: str, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: must be a whole number, is {value!r:.60}")
    if not least <= value <= most:
        raise ValueError(f"{name}: must be from {least} to {most}, is {value}")


def _numbers(values: object, name: str) -> Sequence[int | float]:
    found: Sequence[int | float] = _tuple(values, (int, float), name)
    for number, value in enumerate(found):
        if isinstance(value, bool) or not math.isfinite(value):
            raise ValueError(f"{name}[{number}]: {value!r} is not a finite number")
    return found


def _tuple(values: object, kind: type | tuple[type, ...], name: str) -> tuple:  # type: ignore[type-arg]
    if not isinstance(values, tuple):
        raise TypeError(f"{name}: must be a tuple, is {type(values).__name__}")
    for number, value in enumerate(values):
        if not isinstance(value, kind):
            raise TypeError(f"{name}[{number}]: is {value!r:.60}, of the wrong type")
    return values
