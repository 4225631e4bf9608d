"""Variation operators over whole generations of encoded architectures.

All take and return int64 ``[n, 1 + genes]`` (column 0 is the index of the image size) and do not modify
their inputs. Redraws follow OFA's encoders (see ``deploy_nas.core.encoder``), crossover follows OFA's
``EvolutionFinder``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from deploy_nas.core.encoder import gene_groups, redraw_genes, redraw_image_sizes
from deploy_nas.core.space import IntArray, Space


def crossover(a: IntArray, b: IntArray, rng: np.random.Generator) -> IntArray:
    """Uniform crossover of ``a`` and ``b``, both ``[n, columns]``: each value from either, equally likely."""
    return np.where(rng.integers(0, 2, size=a.shape, dtype=np.bool_), a, b)


class Variation:
    """The operators of one space, with their tables computed once.

    Args:
        space: the search space.
        image_sizes: image sizes that may be drawn; ``None``: all of the space.
    """

    def __init__(self, space: Space, image_sizes: Sequence[int] | None = None) -> None:
        self.space = space
        self.image_sizes = tuple(space.image_sizes if image_sizes is None else image_sizes)
        self._sizes = space.image_size_indices(self.image_sizes)
        self._counts = space.choice_counts[1:]
        self._groups = gene_groups(space)
        self._edits = self._all_edits()
        # fixed, so that every run breaks ties in the same order
        fixed = np.random.Generator(np.random.PCG64(20200426))
        self._multipliers = fixed.integers(1, 2**62, size=1 + len(self._counts), dtype=np.int64) * 2 + 1

    def sample(self, rng: np.random.Generator, count: int) -> IntArray:
        """``[count, 1 + genes]``, every choice uniform."""
        return self.space.sample_encoded(rng, count, self.image_sizes)

    def smallest(self) -> IntArray:
        """The first choice of every gene, one row per image size: ``[sizes, 1 + genes]``."""
        return self.space.encode([self.space.smallest(size) for size in self.image_sizes])

    def mutate(
        self, parents: IntArray, rng: np.random.Generator, arch_prob: float, resolution_prob: float
    ) -> IntArray:
        """One child of each of ``parents`` ``[n, 1 + genes]``.

        Every group of genes is redrawn with ``arch_prob``, the image size with ``resolution_prob``.
        """
        moved = redraw_image_sizes(parents, rng, resolution_prob, allowed=self._sizes)
        return redraw_genes(moved, rng, arch_prob, counts=self._counts, groups=self._groups, in_place=True)

    def crossover(self, a: IntArray, b: IntArray, rng: np.random.Generator) -> IntArray:
        """See :func:`crossover`."""
        return crossover(a, b, rng)

    def neighbours(self, rows: IntArray) -> IntArray:
        """All canonical rows that differ from one of ``rows`` in one group of genes or the image size.

        ``[k, 1 + genes]`` to ``[m, 1 + genes]``, distinct, excluding ``rows`` themselves.
        """
        rows = np.atleast_2d(rows)
        edits = self._edits[None]
        changed = np.where(edits >= 0, edits, rows[:, None, :]).reshape(-1, rows.shape[1])
        return self.fresh(self.space.canonical(changed), self.keys(self.space.canonical(rows)))

    def keys(self, rows: IntArray) -> IntArray:
        """A 64-bit hash per row, int64 ``[n]``."""
        return rows @ self._multipliers

    def fresh(self, rows: IntArray, taken: IntArray) -> IntArray:
        """Distinct rows whose key is not among ``taken``, in order."""
        return rows[self.first_seen(self.keys(rows), taken)]

    @staticmethod
    def first_seen(keys: IntArray, taken: IntArray) -> IntArray:
        """Indices, ascending, of the first occurrence of each key that is not among ``taken``."""
        _, index = np.unique(np.concatenate([taken, keys]), return_index=True)
        index = np.sort(index) - len(taken)
        return index[index >= 0]

    @staticmethod
    def first_new(keys: IntArray, taken: IntArray) -> IntArray:
        """As :meth:`first_seen`, for ``taken`` in ascending order: saves sorting a large one again."""
        _, index = np.unique(keys, return_index=True)
        index = np.sort(index)
        if not len(taken):
            return index
        nearest = np.minimum(np.searchsorted(taken, keys[index]), len(taken) - 1)
        fresh: IntArray = index[taken[nearest] != keys[index]]
        return fresh

    def _all_edits(self) -> IntArray:
        """Every single change, int64 ``[edits, 1 + genes]``; -1 where a column is unchanged."""
        width = 1 + len(self._counts)
        edits = []
        for size in self._sizes:
            edits.append({0: int(size)})
        for group in range(int(self._groups.max(initial=-1)) + 1):
            genes = np.flatnonzero(self._groups == group)
            for values in itertools.product(*(range(int(self._counts[g])) for g in genes)):
                edits.append({1 + int(g): v for g, v in zip(genes, values, strict=True)})
        table = np.full((len(edits), width), -1, dtype=np.int64)
        for number, edit in enumerate(edits):
            table[number, list(edit)] = list(edit.values())
        return table
