"""Drawing and mutating architectures of any space, as the ``arch_encoder`` of OFA's tutorial and lab 3 does.

The semantics are those of ``ofa.nas.accuracy_predictor.MobileNetArchEncoder``: a redraw is uniform over all
choices, the current one included; a block's kernel size and expand ratio are redrawn together, each depth
by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploy_nas.core.errors import OptionError
from deploy_nas.core.space import TUTORIAL_SIZE, Architecture, IntArray, Space

WIDTH_KEYS = ("wid", "w")
# Lab 3 mutates ``wid`` with mutate_width alone; OFA's ResNetArchEncoder mutates ``w`` in mutate_arch.
_ONLY_IN_MUTATE_WIDTH = "wid"


def gene_groups(space: Space) -> IntArray:
    """Group number of each gene, int64 ``[genes]``: genes of one group are redrawn together.

    Genes that occur in exactly the same slots are one block's own choices (``ks[i]`` and ``e[i]``).
    """
    numbers: dict[tuple[int, ...], int] = {}
    groups = []
    for gene in range(len(space.genes)):
        where = tuple(s for s, slot in enumerate(space.slots) if gene in slot.genes)
        # a gene that occurs in no slot is a group of its own
        groups.append(numbers.setdefault(where or (-1, gene), len(numbers)))
    return np.array(groups, dtype=np.int64)


def redraw_genes(
    encoded: IntArray,
    rng: np.random.Generator,
    probability: float,
    *,
    counts: IntArray,
    groups: IntArray,
    genes: Sequence[int] | None = None,
    in_place: bool = False,
) -> IntArray:
    """A copy in which each group of genes is redrawn with ``probability``.

    Args:
        encoded: architectures, int64 ``[n, 1 + genes]``.
        rng: source of all randomness.
        probability: probability of a redraw, per group and row.
        counts: number of choices of each gene, int64 ``[genes]``.
        groups: group number of each gene, int64 ``[genes]``.
        genes: the genes that may change; ``None``: all.
        in_place: change ``encoded`` itself and return it.
    """
    if not len(groups):
        return encoded.copy()
    hit = (rng.random((len(encoded), int(groups.max()) + 1), dtype=np.float32) < probability)[:, groups]
    if genes is not None:
        allowed = np.zeros(len(groups), dtype=bool)
        allowed[list(genes)] = True
        hit &= allowed
    rows, columns = np.nonzero(hit)
    result = encoded if in_place else encoded.copy()
    result[rows, 1 + columns] = (rng.random(len(rows)) * counts[columns]).astype(np.int64)
    return result


def redraw_image_sizes(
    encoded: IntArray, rng: np.random.Generator, probability: float, *, allowed: IntArray
) -> IntArray:
    """A copy in which each row's image size is redrawn with ``probability`` from the ``allowed`` indices."""
    hit = rng.random(len(encoded)) < probability
    result = encoded.copy()
    result[hit, 0] = allowed[rng.integers(0, len(allowed), size=int(hit.sum()))]
    return result


class ArchEncoder:
    """Draws and mutates architectures of a space, as dicts in OFA's keys.

    Args:
        space: the search space.
        rng: a generator, or a seed; the same seed gives the same draws.
        image_sizes: image sizes to draw from; ``None``: ``space.profile_image_sizes``.

    Raises:
        ArchitectureError: the space does not offer an image size.
        OptionError: ``image_sizes`` is empty.
    """

    def __init__(
        self, space: Space, rng: np.random.Generator | int = 0, image_sizes: Sequence[int] | None = None
    ) -> None:
        self.space = space
        self.rng = np.random.default_rng(rng)
        self.image_sizes = tuple(space.profile_image_sizes if image_sizes is None else image_sizes)
        self._sizes = space.image_size_indices(self.image_sizes)
        if not self.image_sizes:
            raise OptionError("must name at least one", subject="image_sizes")
        self._groups = gene_groups(space)
        self._counts = space.choice_counts[1:]
        self._width_genes = [g for g, gene in enumerate(space.genes) if gene.key in WIDTH_KEYS]
        self._arch_genes = [g for g, gene in enumerate(space.genes) if gene.key != _ONLY_IN_MUTATE_WIDTH]

    def random_sample_arch(self) -> Architecture:
        """A random architecture, every choice uniform."""
        return self.space.decode(self.space.sample_encoded(self.rng, 1, self.image_sizes))[0]

    def mutate_resolution(self, arch: Architecture, mutate_prob: float) -> Architecture:
        """Redraw the image size with ``mutate_prob``, in place; returns ``arch``."""
        if self.rng.random() < mutate_prob:
            size = self.image_sizes[int(self.rng.integers(len(self.image_sizes)))]
            arch.update(_in_keys_of(arch, {"image_size": size}))
        return arch

    def mutate_width(self, arch: Architecture, mutate_prob: float) -> Architecture:
        """Redraw each width (``wid``, ``w``) with ``mutate_prob``, in place; returns ``arch``."""
        return self._redraw(arch, mutate_prob, self._width_genes) if self._width_genes else arch

    def mutate_arch(self, arch: Architecture, mutate_prob: float) -> Architecture:
        """Redraw each block's choices and each depth with ``mutate_prob``, in place; returns ``arch``.

        Raises:
            ArchitectureError: ``arch`` is not an architecture of the space.
        """
        return self._redraw(arch, mutate_prob, self._arch_genes)

    def _redraw(self, arch: Architecture, probability: float, genes: Sequence[int]) -> Architecture:
        encoded = self.space.encode([arch])
        changed = redraw_genes(
            encoded, self.rng, probability, counts=self._counts, groups=self._groups, genes=genes
        )
        arch.update(_in_keys_of(arch, self.space.decode(changed)[0]))
        return arch


def _in_keys_of(arch: Architecture, changed: Architecture) -> Architecture:
    """``changed`` with the image size in the key, or the keys, in which ``arch`` has it."""
    if TUTORIAL_SIZE not in arch:
        return changed
    size = changed["image_size"]
    assert not isinstance(size, list)  # noqa: S101 - a space has one image size
    kept = {key: value for key, value in changed.items() if key != "image_size" or key in arch}
    return {**kept, TUTORIAL_SIZE: [size]}
