"""Search spaces: a declaration (genes and slots) and the machinery every space shares.

An architecture is a dict in OFA's keys (``{"ks": [...], "e": [...], "d": [...], "image_size": 224}``).
*Encoded*, it is a row of small integers: column 0 is the index of the image size, column ``1 + g``
the index of the choice of gene ``g``. A *slot* is a place in the network; which layer stands in it
depends on the image size and on a few genes. All distinct layers of a space are numbered once, so
that pricing a population is one gather: ``row_ids(encoded)`` and a sum over any figure of the rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.errors import ArchitectureError
from deploy_nas.core.layers import Layer
from deploy_nas.core.of_space import OfSpace
from deploy_nas.core.resources import Download, OwnFile, Resource
from deploy_nas.core.shown import Shown

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Choice = int | float
Architecture = dict[str, Choice | list[Choice]]
# Builders name the values of their genes, as many as their slot has.
LayerBuilder = Callable[..., Layer | None]  # type: ignore[explicit-any]
"""``build(image_size, *values of genes)``: the layer of a slot, or ``None`` where the slot is empty."""

TUTORIAL_SIZE = "r"
"""The image size in samples of OFA's tutorial: ``{"r": [224]}``."""

_IGNORED_KEYS = frozenset({"space", "predicted", "digest", "wid", TUTORIAL_SIZE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Gene:
    """One choice of an architecture: ``architecture[key][index]`` is one of ``choices``.

    Args:
        key: key of the architecture's dict.
        index: index into that key's list; ``None``: the key holds a single value instead of a list.
        choices: values, ascending.
        gate: ``(gene, least)``: the gene is active only where the chosen index of that other gene is at least
            ``least`` (a block past its stage's depth is absent). ``None``: always active.
        same: further values that are read as the first choice, because the supernet treats them alike.
    """

    key: str
    index: int | None
    choices: tuple[int | float, ...]
    gate: tuple[int, int] | None = None
    same: tuple[int | float, ...] = ()

    @property
    def name(self) -> str:
        """Its name in messages and feature columns, such as ``ks[3]`` or ``wid``."""
        return self.key if self.index is None else f"{self.key}[{self.index}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A place in the network; ``build`` gives the layer that stands there."""

    name: str
    genes: tuple[int, ...]
    build: LayerBuilder


@dataclass(frozen=True, kw_only=True, repr=False)
class Space(Shown):
    """A search space.

    Args:
        id: as in commands and files.
        summary: a one-line description.
        supernet: class name and arguments of the supernet in the ``ofa`` package (see
            ``adapters.supernets``).
        image_sizes: image sizes of the architectures, pixels, ascending.
        profile_image_sizes: image sizes that are profiled by default.
        classes: outputs of the classifier.
        mean, std: per channel, of pixels scaled to 0..1.
        genes, slots: see :class:`Gene`, :class:`Slot`. Genes with one key are in index order.
        labels: names of the classes in the order of the logits; empty: unknown.
        default_weights: weights that ship with it, named "embedded" in commands.
        default_predictor: accuracy predictor that ships with it, named "embedded" in commands.
        published_weights: checkpoint published by its authors, named "pretrained" in commands.
        published_predictor: whether OFA published an accuracy predictor for exactly this space.
        base: the space that it differs from in classes and image sizes alone; ``None`` for any other space.
    """

    id: str
    summary: str
    supernet: Mapping[str, object]
    image_sizes: tuple[int, ...]
    profile_image_sizes: tuple[int, ...]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    genes: tuple[Gene, ...]
    slots: tuple[Slot, ...]
    labels: tuple[str, ...] = ()
    default_weights: Resource | OwnFile | None = None
    default_predictor: Resource | OwnFile | None = None
    published_weights: Download | None = None
    published_predictor: bool = False
    base: Space | None = None

    def _summary(self) -> str:
        return f"{self.id}, {self.summary}, image sizes {', '.join(map(str, self.image_sizes))}"

    # -- shape ---------------------------------------------------------------------------------

    @cached_property
    def gene_columns(self) -> dict[str, list[int]]:
        """Encoded columns of each key, in index order."""
        columns: dict[str, list[int]] = {}
        for number, gene in enumerate(self.genes):
            columns.setdefault(gene.key, []).append(number + 1)
        return columns

    @cached_property
    def _plain_keys(self) -> frozenset[str]:
        """Keys that hold a single value instead of a list."""
        return frozenset(gene.key for gene in self.genes if gene.index is None)

    @cached_property
    def choice_counts(self) -> IntArray:
        """Number of choices of each encoded column, int64 ``[1 + genes]``."""
        return np.array([len(self.image_sizes), *(len(g.choices) for g in self.genes)], dtype=np.int64)

    @cached_property
    def size(self) -> int:
        """Number of encoded rows; rows that differ only in absent blocks count separately."""
        return int(np.prod(self.choice_counts.astype(object)))

    # -- encoded and back ----------------------------------------------------------------------

    def validate(self, architecture: Mapping[str, object]) -> None:
        """Raise :class:`ArchitectureError`, naming the key, unless this is an architecture of the space."""
        self.encode([architecture])

    def encode(self, architectures: Iterable[Mapping[str, object]]) -> IntArray:
        """Dicts to int64 ``[n, 1 + genes]``; raises :class:`ArchitectureError` for the first invalid one.

        The image size may also be in the key of OFA's tutorial, ``"r": [224]``.
        """
        rows = [self._encode_one(a) for a in architectures]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self.genes) + 1)

    def _encode_one(self, architecture: Mapping[str, object]) -> list[int]:
        if not isinstance(architecture, Mapping):
            raise ArchitectureError(f"an architecture is a dict, not {type(architecture).__name__}")
        stated = architecture.get("space", self.id)
        if stated != self.id:
            raise ArchitectureError(f"is of space {stated!r}, not {self.id!r}", subject="space")
        expected = {"image_size", *self.gene_columns}
        for key in architecture:
            if key not in expected and key not in _IGNORED_KEYS:
                raise ArchitectureError(
                    f"is not a key of {self.id}", subject=str(key), hint=_keys_hint(expected)
                )
        row = [self._index("image_size", _stated_size(architecture), self.image_sizes)]
        for key, columns in self.gene_columns.items():
            values = architecture.get(key)
            if key in self._plain_keys:
                values = [values]
            if isinstance(values, np.ndarray):
                values = values.tolist()
            if not isinstance(values, list | tuple) or len(values) != len(columns):
                raise ArchitectureError(
                    f"must be a list of {len(columns)} values, is {_found(values)}", subject=key
                )
            for column, value in zip(columns, values, strict=True):
                gene = self.genes[column - 1]
                absent = gene.gate is not None and _is_zero(value)
                row.append(-1 if absent else self._index(gene.name, value, gene.choices, gene.same))
        for gene, index in zip(self.genes, row[1:], strict=True):
            if index < 0 and gene.gate is not None and row[1 + gene.gate[0]] >= gene.gate[1]:
                raise ArchitectureError(
                    f"must be one of {list(gene.choices)}, is 0 though its block is present",
                    subject=gene.name,
                )
        return [max(index, 0) for index in row]

    @staticmethod
    def _index(
        name: str, value: object, choices: Sequence[int | float], same: Sequence[int | float] = ()
    ) -> int:
        if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
            for index, choice in enumerate(choices):
                if value == choice:
                    return index
            if value in same:
                return 0
        found = "missing" if value is None else repr(value)[:60]
        raise ArchitectureError(f"must be one of {list(choices)}, is {found}", subject=name)

    def decode(self, encoded: IntArray) -> list[Architecture]:
        """int64 ``[n, 1 + genes]`` to dicts of plain ints and lists, which know their space."""
        result: list[Architecture] = []
        for row in np.atleast_2d(encoded):
            architecture: Architecture = OfSpace((), self)
            for key, columns in self.gene_columns.items():
                values = [self.genes[c - 1].choices[int(row[c])] for c in columns]
                architecture[key] = values[0] if key in self._plain_keys else values
            architecture["image_size"] = self.image_sizes[int(row[0])]
            result.append(architecture)
        return result

    def active(self, encoded: IntArray) -> NDArray[np.bool_]:
        """Activity of each gene, bool ``[n, genes]``."""
        columns, least = self._gates
        active: NDArray[np.bool_] = np.atleast_2d(encoded)[:, columns] >= least
        return active

    @cached_property
    def _gates(self) -> tuple[IntArray, IntArray]:
        """Gate of each gene as encoded column and least index; 0 and 0 for a gene without a gate."""
        gates = [(0, 0) if g.gate is None else (1 + g.gate[0], g.gate[1]) for g in self.genes]
        columns, least = zip(*gates, strict=True) if gates else ((), ())
        return np.array(columns, dtype=np.int64), np.array(least, dtype=np.int64)

    def canonical(self, encoded: IntArray) -> IntArray:
        """A copy in which inactive genes are 0: equal rows are equal networks."""
        encoded = np.atleast_2d(encoded).copy()
        gated = self._gated
        if len(gated):
            columns, least = self._gates
            encoded[:, 1 + gated] *= encoded[:, columns[gated]] >= least[gated]
        return encoded

    @cached_property
    def _gated(self) -> IntArray:
        """Genes that have a gate."""
        return np.array([i for i, gene in enumerate(self.genes) if gene.gate is not None], dtype=np.int64)

    # -- drawing -------------------------------------------------------------------------------

    def sample_encoded(
        self, rng: np.random.Generator, count: int, image_sizes: Sequence[int] | None = None
    ) -> IntArray:
        """Uniform choices, int64 ``[count, 1 + genes]``; ``image_sizes`` narrows the first column."""
        encoded = rng.integers(0, self.choice_counts, size=(count, len(self.choice_counts)))
        if image_sizes is not None:
            allowed = self.image_size_indices(image_sizes)
            encoded[:, 0] = allowed[rng.integers(0, len(allowed), size=count)]
        return encoded

    def image_size_indices(self, image_sizes: Sequence[int]) -> IntArray:
        """Indices of image sizes, int64; raises :class:`ArchitectureError` for one not in the space."""
        return np.array([self._index("image_size", s, self.image_sizes) for s in image_sizes], dtype=np.int64)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """A random architecture (OFA's ``sample_active_subnet``, with an image size)."""
        return self.decode(self.sample_encoded(rng, 1))[0]

    def smallest(self, image_size: int | None = None) -> Architecture:
        """The first choice of every gene (lab 3's ``sample_active_subnet(min, image_size)``)."""
        return self._extreme(0, min(self.image_sizes) if image_size is None else image_size)

    def largest(self, image_size: int | None = None) -> Architecture:
        """The last choice of every gene (lab 3's ``sample_active_subnet(max, image_size)``)."""
        return self._extreme(-1, max(self.image_sizes) if image_size is None else image_size)

    def _extreme(self, which: int, image_size: int) -> Architecture:
        row = [int(self.image_size_indices([image_size])[0])]
        row += [0 if which == 0 else len(g.choices) - 1 for g in self.genes]
        return self.decode(np.array([row], dtype=np.int64))[0]

    # -- layers --------------------------------------------------------------------------------

    def layers(self, architecture: Mapping[str, object]) -> list[tuple[str, Layer]]:
        """The network as ``(slot name, layer)`` pairs, without absent slots."""
        row = self.encode([architecture])[0]
        image_size = self.image_sizes[int(row[0])]
        built = []
        for slot in self.slots:
            layer = slot.build(image_size, *(self.genes[g].choices[int(row[1 + g])] for g in slot.genes))
            if layer is not None:
                built.append((slot.name, layer))
        return built

    @cached_property
    def _row_table(self) -> tuple[tuple[Layer, ...], tuple[IntArray, ...]]:
        """Distinct layers, and for each slot the row number of every choice (-1: absent)."""
        layers: list[Layer] = []
        numbers: dict[str, int] = {}
        tables: list[IntArray] = []
        for slot in self.slots:
            choices = [self.genes[g].choices for g in slot.genes]
            flat = []
            for image_size in self.image_sizes:
                for values in itertools.product(*choices):
                    layer = slot.build(image_size, *values)
                    if layer is None:
                        flat.append(-1)
                        continue
                    if layer.key not in numbers:
                        numbers[layer.key] = len(layers)
                        layers.append(layer)
                    flat.append(numbers[layer.key])
            tables.append(np.array(flat, dtype=np.int64))
        return tuple(layers), tuple(tables)

    @property
    def rows(self) -> tuple[Layer, ...]:
        """All distinct layers of the space, numbered: the rows of its tables."""
        return self._row_table[0]

    def row_ids(self, encoded: IntArray) -> IntArray:
        """Row number in each slot, int64 ``[n, slots]``; -1 where a slot is absent.

        Indexes an array of values per row that has one more element at its end, for absent slots.
        """
        rows: IntArray = self.place_rows[self.places(encoded)]
        return rows

    def places(self, encoded: IntArray) -> IntArray:
        """Number of the choice made in each slot, image size included, int64 ``[n, slots]``.

        Indexes :attr:`place_rows` and any array of its layout, so that pricing is one gather and a sum.
        """
        strides, starts, _ = self._row_index
        places: IntArray = (np.atleast_2d(encoded) @ strides + starts).astype(np.int64)
        return places

    @property
    def place_rows(self) -> IntArray:
        """Row number of every choice of every slot, int64 ``[places]``; -1 where it is absent."""
        return self._row_index[2]

    @cached_property
    def place_sizes(self) -> IntArray:
        """Index of the image size of every choice of every slot, int64 ``[places]``."""
        sizes = len(self.image_sizes)
        return np.concatenate([np.repeat(np.arange(sizes), len(t) // sizes) for t in self._row_table[1]])

    @cached_property
    def _row_index(self) -> tuple[FloatArray, FloatArray, IntArray]:
        """Slots' tables laid end to end, and the product that finds a place in them.

        In float64, which is exact for integers of this size, because BLAS then computes the product.
        """
        strides = np.zeros((1 + len(self.genes), len(self.slots)))
        for number, slot in enumerate(self.slots):
            step = 1
            for gene in reversed(slot.genes):
                strides[1 + gene, number] = step
                step *= len(self.genes[gene].choices)
            strides[0, number] = step
        tables = self._row_table[1]
        starts = np.cumsum([0, *(len(t) for t in tables)])[:-1].astype(np.float64)
        return strides, starts, np.concatenate(tables)

    def row_sizes(self) -> IntArray:
        """Bit mask of the image-size indices at which each row occurs, int64 ``[rows]``."""
        mask = np.zeros(len(self.rows), dtype=np.int64)
        for slot_table in self._row_table[1]:
            per_size = slot_table.reshape(len(self.image_sizes), -1)
            for index, ids in enumerate(per_size):
                mask[np.unique(ids[ids >= 0])] |= 1 << index
        return mask


def image_size_of(architecture: Mapping[str, object]) -> int:
    """Image size of an architecture, pixels; raises :class:`ArchitectureError` if missing or invalid."""
    size = architecture.get("image_size")
    if isinstance(size, bool) or not isinstance(size, int | np.integer):
        raise ArchitectureError(f"must be a whole number, is {_found(size)}", subject="image_size")
    return int(size)


def _stated_size(architecture: Mapping[str, object]) -> object:
    """The image size in either key; raises :class:`ArchitectureError` where the two differ."""
    size = architecture.get("image_size")
    if TUTORIAL_SIZE not in architecture:
        return size
    given = architecture[TUTORIAL_SIZE]
    if isinstance(given, list | tuple | np.ndarray) and len(given) == 1:
        given = given[0]
    if size is not None and size != given:
        raise ArchitectureError(f"is {given!r}, and image_size is {size!r}", subject=TUTORIAL_SIZE)
    return given


def _keys_hint(expected: Iterable[str]) -> str:
    return f"its keys are {', '.join(sorted(expected))}"


def _found(value: object) -> str:
    if value is None:
        return "missing"
    return f"{len(value)} values" if isinstance(value, list | tuple) else repr(value)[:60]


def _is_zero(value: object) -> bool:
    """Whether it is 0, which files of ``ofa`` hold for an absent block."""
    return isinstance(value, int | float | np.integer | np.floating) and value == 0 and value is not False
