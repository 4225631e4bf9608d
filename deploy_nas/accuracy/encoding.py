"""Features of architectures for an accuracy predictor, a whole population at once.

A layout is a list of named columns: one-hot choices of every block gene, all zero where the block is
absent, then a one-hot image size. Depth genes have no columns of their own: the zeros of absent blocks
encode them. For OFA's MobileNetV3 this is the layout of the tutorial's ``AccuracyPredictor.spec2feats``
(128 columns), which has eight image sizes, 112 to 224.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.errors import MismatchError
from deploy_nas.core.space import FloatArray, IntArray, Space
from deploy_nas.core.spaces import known_spaces

Float32Array = NDArray[np.float32]

ONE_HOT = "one-hot"
WITH_TOTALS = "one-hot+totals"
LAYOUTS = (ONE_HOT, WITH_TOTALS)
TUTORIAL_IMAGE_SIZES = tuple(range(112, 225, 16))


@dataclass(frozen=True, kw_only=True)
class FeatureLayout:
    """The columns of an architecture's features.

    Args:
        space: the search space.
        image_sizes: image sizes with a column, ascending; ``None``: the space's own.
        totals: adds columns for the whole network: log MACs and log parameters, 0 for the space's smallest
            and 1 for its largest architecture.
    """

    space: Space
    image_sizes: tuple[int, ...] | None = None
    totals: bool = False

    @property
    def name(self) -> str:
        """Its name in files."""
        return WITH_TOTALS if self.totals else ONE_HOT

    @cached_property
    def _genes(self) -> tuple[int, ...]:
        """Genes with columns: all but the depths that absent blocks encode."""
        steps: dict[int, set[int]] = {}
        for gene in self.space.genes:
            if gene.gate is not None:
                steps.setdefault(gene.gate[0], set()).add(gene.gate[1])
        implied = {
            g for g, least in steps.items() if least == set(range(1, len(self.space.genes[g].choices)))
        }
        return tuple(g for g in range(len(self.space.genes)) if g not in implied)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names such as ``ks[3]=5`` or ``image_size=160``; layouts with equal names are equal."""
        genes = [self.space.genes[g] for g in self._genes]
        names = [f"{g.name}={choice}" for g in genes for choice in g.choices]
        names += [f"image_size={size}" for size in self.image_sizes or self.space.image_sizes]
        return (*names, "log_macs", "log_params") if self.totals else tuple(names)

    def features(self, encoded: IntArray) -> Float32Array:
        """int64 ``[n, 1 + genes]`` to float32 ``[n, len(columns)]``."""
        encoded = np.atleast_2d(encoded)
        genes = np.array(self._genes)
        starts = np.cumsum([0, *(len(self.space.genes[g].choices) for g in self._genes)])
        result = np.zeros((len(encoded), len(self.columns)), dtype=np.float32)
        places = encoded[:, 1 + genes] + starts[:-1] + len(self.columns) * np.arange(len(encoded))[:, None]
        result.reshape(-1)[places] = self.space.active(encoded)[:, genes]
        sizes = self.image_sizes or self.space.image_sizes
        position = np.array([sizes.index(size) for size in self.space.image_sizes])
        result[np.arange(len(encoded)), starts[-1] + position[encoded[:, 0]]] = 1.0
        if self.totals:
            result[:, -2:] = self._totals(encoded)
        return result

    @cached_property
    def _ends(self) -> dict[str, tuple[float, float]]:
        """Log of each total at the space's smallest and largest architecture."""
        ends = self.space.encode([self.space.smallest(), self.space.largest()])
        logs = {figure: np.log(total_figure(self.space, ends, figure)) for figure in ("macs", "params")}
        return {figure: (float(low), float(high)) for figure, (low, high) in logs.items()}

    def _totals(self, encoded: IntArray) -> FloatArray:
        columns = [
            (np.log(total_figure(self.space, encoded, figure)) - low) / (high - low)
            for figure, (low, high) in self._ends.items()
        ]
        return np.stack(columns, axis=1)


def total_figure(space: Space, encoded: IntArray, figure: str) -> FloatArray:
    """Sum over the layers of ``figure`` ("macs" or "params"), float64 ``[n]``."""
    values = np.array([*(getattr(layer, figure) for layer in space.rows), 0], dtype=np.float64)
    total: FloatArray = values[space.row_ids(encoded)].sum(axis=1)
    return total


def feature_layout(space: Space, name: str = ONE_HOT) -> FeatureLayout:
    """The layout of that name; raises :class:`MismatchError` for an unknown one."""
    if name not in LAYOUTS:
        raise MismatchError(f"unknown feature layout {name!r}", hint=f"known are {', '.join(LAYOUTS)}")
    return FeatureLayout(space=space, totals=name == WITH_TOTALS)


def tutorial_layout(space: Space) -> FeatureLayout:
    """OFA's tutorial layout; raises :class:`MismatchError` unless the space has its choices."""
    if not set(space.image_sizes) <= set(TUTORIAL_IMAGE_SIZES):
        raise _not_tutorial(space)
    layout = FeatureLayout(space=space, image_sizes=TUTORIAL_IMAGE_SIZES)
    if layout.columns != _tutorial_columns():
        raise _not_tutorial(space)
    return layout


def _tutorial_columns() -> Sequence[str]:
    choices = (("ks", (3, 5, 7)), ("e", (3, 4, 6)))
    names = [f"{key}[{b}]={value}" for key, values in choices for b in range(20) for value in values]
    return (*names, *(f"image_size={size}" for size in TUTORIAL_IMAGE_SIZES))


def resnet_columns() -> tuple[str, ...]:
    """Features of OFA's ``ResNetArchEncoder``, in its order, under our columns' names."""
    sizes = (128, 144, 160, 176, 192, 224, 240, 256)
    names = [f"image_size={size}" for size in sizes]
    names += [f"d[0]={depth}" for depth in (0, 2)]
    names += [f"w[{place}]={index}" for place in range(6) for index in range(3)]
    names += [f"e[{block}]={ratio}" for block in range(18) for ratio in (0.2, 0.25, 0.35)]
    return tuple(names)


def _not_tutorial(space: Space) -> MismatchError:
    published = ", ".join(s.id for s in known_spaces() if s.published_predictor)
    return MismatchError(
        f"OFA's published MobileNetV3 predictor is not for {space.id}",
        hint=f"predictors were published for {published}; train one with 'deploy-nas accuracy'",
    )
