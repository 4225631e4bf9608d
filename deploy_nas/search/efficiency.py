"""Efficiency predictors: the cost of an architecture as a pure function of its layers.

They have the interface of MIT's TinyML lab 3 (``get_efficiency``, ``satisfy_constraint``), that of OFA's
tutorial (``predict_efficiency``) and a batch form for whole populations: one gather over the figures of the
space's rows, without a supernet. To add a figure, add its entry to ``core.figures`` and its function to
:data:`PRICING`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Protocol

import numpy as np

from deploy_nas.core.errors import ArchitectureError, MismatchError, OptionError
from deploy_nas.core.figures import LATENCY, MACS, MODEL_SIZE, PARAMS, PEAK_MEMORY, on_device
from deploy_nas.core.layers import Layer
from deploy_nas.core.shown import Shown
from deploy_nas.core.space import Architecture, FloatArray, IntArray, Space
from deploy_nas.core.spaces import get_space
from deploy_nas.search.budgets import Figures, LazyFigures, meets, parse_budgets
from deploy_nas.search.own import OwnFigure, check_names, own_values

Price = Callable[[IntArray], FloatArray]
"""Choices by slot, int64 ``[n, slots]`` (see ``Space.places``), to a figure, float64 ``[n]``."""

# Upper bounds of what an exported file holds besides weights: metadata, a label per class, and a few nodes
# per operator with the shapes of their outputs (a test compares with real files).
_FILE_BYTES, _LABEL_BYTES, _OPERATOR_BYTES = 8192, 48, 640


def file_bytes(layer: Layer) -> int:
    """Upper bound of a layer's bytes in an exported fp32 file: batch norms are folded into biases."""
    folded = sum(conv.out_channels for conv in layer.convs if conv.norm)
    return 4 * (layer.params - folded) + _OPERATOR_BYTES * (len(layer.ops) + 1)


# -- one function per figure -----------------------------------------------------------------------


def by_choice(space: Space, cost: Callable[[Layer], float]) -> FloatArray:
    """``cost`` of every choice of every slot, float64 ``[places]``; an absent block costs nothing."""
    rows = np.array([*(cost(row) for row in space.rows), 0], dtype=np.float64)
    values: FloatArray = rows[space.place_rows]
    return values


def total(costs: FloatArray, constant: float, places: IntArray) -> FloatArray:
    """Sum over the slots, plus ``constant``."""
    values: FloatArray = costs[places].sum(axis=1) + constant
    return values


def largest(costs: FloatArray, places: IntArray) -> FloatArray:
    """Maximum over the slots."""
    values: FloatArray = costs[places].max(axis=1)
    return values


def _macs(space: Space, bytes_per_element: int) -> Price:
    return partial(total, by_choice(space, lambda layer: layer.macs / 1e6), 0.0)


def _params(space: Space, bytes_per_element: int) -> Price:
    return partial(total, by_choice(space, lambda layer: layer.params / 1e6), 0.0)


def _peak_memory(space: Space, bytes_per_element: int) -> Price:
    elements = by_choice(space, lambda layer: layer.peak_elements)
    return partial(largest, elements * bytes_per_element / 1024)


def _model_size(space: Space, bytes_per_element: int) -> Price:
    besides = _FILE_BYTES + _LABEL_BYTES * space.classes
    return partial(total, by_choice(space, file_bytes) / 1e6, besides / 1e6)


PRICING: dict[str, Callable[[Space, int], Price]] = {
    MACS.name: _macs,
    PARAMS.name: _params,
    PEAK_MEMORY.name: _peak_memory,
    MODEL_SIZE.name: _model_size,
}
"""Each figure of ``core.figures.ANALYTICAL`` by name: space and bytes per element to its price."""


# -- predictors ------------------------------------------------------------------------------------


class LatencyProfile(Protocol):
    """The part of a measured profile that a search uses."""

    @property
    def space(self) -> Space:
        """The profiled space."""

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Profiled image sizes, pixels."""

    def latency_ms(self, encoded: IntArray) -> FloatArray:
        """Predicted latency, float64 ``[n]``; raises ``MismatchError`` for an image size not profiled."""


class AnalyticalEfficiencyPredictor(Shown):
    """Figures that follow from the layers alone.

    * ``millionMACs``: multiply-accumulates / 1e6, as OFA's ``Mbv3FLOPsModel`` counts them.
    * ``params_million``: trainable parameters of the subnet / 1e6.
    * ``KBPeakMemory``: the largest input + output of a convolution or the classifier, in elements, times
      ``bytes_per_element``, / 1024 (within a residual block the depthwise convolution also holds the
      block's input): lab 3's definition, which assumes int8, one byte per element.
    * ``model_mb``: upper bound of the size of the exported fp32 file, in 10^6 bytes.

    Args:
        space: a space or its id.
        bytes_per_element: of activations: 1 for int8 as in the lab, 4 for fp32.
        figures: further figures of your own by name (:mod:`deploy_nas.search.own`).

    Raises:
        UnknownSpaceError: no space of that id.
        OptionError: ``bytes_per_element`` is not a whole number of at least 1, or a figure's name is taken.
    """

    def __init__(
        self,
        space: Space | str,
        *,
        bytes_per_element: int = 1,
        figures: Mapping[str, OwnFigure] | None = None,
    ) -> None:
        if (
            isinstance(bytes_per_element, bool)
            or not isinstance(bytes_per_element, int)
            or bytes_per_element < 1
        ):
            raise OptionError(
                f"must be 1 (int8), 2 or 4 (fp32), is {bytes_per_element!r}", subject="bytes_per_element"
            )
        self.space = get_space(space) if isinstance(space, str) else space
        self.bytes_per_element = bytes_per_element
        self.figures = dict(figures or {})
        check_names(self.figures)
        self._prices = {name: make(self.space, bytes_per_element) for name, make in PRICING.items()}

    def _summary(self) -> str:
        return f"{self.space.id}: {', '.join(self.names)}"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the figures, each of which may be bounded."""
        return (*self._prices, *self.figures)

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Image sizes that can be priced, pixels."""
        return self.space.image_sizes

    def get_efficiency_batch(self, encoded: IntArray) -> LazyFigures:
        """Figures of encoded architectures ``[n, 1 + genes]``: name to float64 ``[n]``.

        Raises:
            ArchitectureError: rows of another length than the space's.
        """
        encoded = np.atleast_2d(encoded)
        if encoded.shape[1] != 1 + len(self.space.genes):
            raise ArchitectureError(
                f"encoded architectures have {1 + len(self.space.genes)} columns, not {encoded.shape[1]}",
                subject=self.space.id,
            )
        return LazyFigures(self._functions(encoded))

    def _functions(self, encoded: IntArray) -> dict[str, Callable[[], FloatArray]]:
        """Name to the function that computes the figure of ``encoded``."""
        places = cache(lambda: self.space.places(encoded))

        def priced(price: Price) -> FloatArray:
            return price(places())

        own = {name: partial(own_values, f, name, self.space, encoded) for name, f in self.figures.items()}
        return {**{name: partial(priced, price) for name, price in self._prices.items()}, **own}

    def get_efficiency(self, arch: Architecture) -> Figures:
        """Figures of one architecture by name; ``figures <= constraint`` is :meth:`satisfy_constraint`.

        Raises:
            ArchitectureError: not an architecture of the space; names the key.
        """
        batch = self.get_efficiency_batch(self.space.encode([arch]))
        return Figures({name: float(values[0]) for name, values in batch.items()})

    def predict_efficiency(self, arch: Architecture) -> float:
        """The one figure that a bare number bounds, as the predictors of OFA's tutorial give it.

        That is ``latency_ms`` where it is predicted, else ``millionMACs``. Raises as :meth:`get_efficiency`.
        """
        figure = LATENCY.name if LATENCY.name in self.names else MACS.name
        return float(self.get_efficiency_batch(self.space.encode([arch]))[figure][0])

    def satisfy_constraint(
        self, efficiency: Mapping[str, float], constraint: Mapping[str, float] | float
    ) -> bool:
        """Whether every figure bounded by ``constraint`` is at most its bound.

        Raises:
            BudgetError: a bound that is not a positive finite number.
            OptionError: a bound on a figure that ``efficiency`` does not have.
        """
        return meets(efficiency, parse_budgets(constraint, efficiency))


class MeasuredEfficiencyPredictor(AnalyticalEfficiencyPredictor):
    """The analytical figures, and ``latency_ms`` as predicted from a profile measured on a device.

    Asking for the latency at an image size that was not profiled raises ``MismatchError``.

    Args:
        profile: a loaded profile, or an object with its interface.
        bytes_per_element: of activations, for ``KBPeakMemory``.
        others: profiles of further devices by name; each adds a figure ``latency_ms@NAME``.
        figures: further figures of your own by name.

    Raises:
        MismatchError: the profiles are of different spaces, or have no image size in common.
    """

    def __init__(
        self,
        profile: LatencyProfile,
        *,
        bytes_per_element: int = 1,
        others: Mapping[str, LatencyProfile] | None = None,
        figures: Mapping[str, OwnFigure] | None = None,
    ) -> None:
        super().__init__(profile.space, bytes_per_element=bytes_per_element, figures=figures)
        self.profile = profile
        self.others = dict(others or {})
        for name, other in self.others.items():
            if other.space.id != profile.space.id:
                raise MismatchError(
                    f"is of space {other.space.id}, the first of {profile.space.id}",
                    subject=f"profile {name}",
                )
        if not self.image_sizes:
            raise MismatchError("have no image size in common", subject="profiles")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the figures, each of which may be bounded."""
        return (LATENCY.name, *map(on_device, self.others), *super().names)

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Image sizes that were profiled on every device, pixels."""
        profiled = [set(p.image_sizes) for p in self.others.values()]
        return tuple(s for s in self.profile.image_sizes if all(s in sizes for sizes in profiled))

    def _functions(self, encoded: IntArray) -> dict[str, Callable[[], FloatArray]]:
        """A latency's function raises ``MismatchError`` for an image size that was not profiled."""
        profiles = {LATENCY.name: self.profile, **{on_device(n): p for n, p in self.others.items()}}
        latencies = {name: partial(p.latency_ms, encoded) for name, p in profiles.items()}
        return {**latencies, **super()._functions(encoded)}
