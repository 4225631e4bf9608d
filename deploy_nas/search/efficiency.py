"""Efficiency predictors: what an architecture costs, as a pure function of its layers.

The interface of MIT's TinyML lab 3 (``get_efficiency``, ``satisfy_constraint``), and a batch form for
whole populations: one gather over the figures of the space's rows, no supernet touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Protocol

import numpy as np

from deploy_nas.core.errors import ArchitectureError, MismatchError, OptionError
from deploy_nas.core.layers import Layer
from deploy_nas.core.space import Architecture, FloatArray, IntArray, Space
from deploy_nas.core.spaces import get_space
from deploy_nas.search.budgets import Figures, meets, parse_budgets

# What an exported file holds besides weights, at most: metadata, a class's label, and a few nodes an operator
# with the shapes of what they make (a test compares).
_FILE_BYTES, _LABEL_BYTES, _OPERATOR_BYTES = 8192, 48, 640


def file_bytes(layer: Layer) -> int:
    """Bytes that a layer takes in an exported fp32 file, at most: batch norms are folded to biases."""
    folded = sum(conv.out_channels for conv in layer.convs if conv.norm)
    return 4 * (layer.params - folded) + _OPERATOR_BYTES * (len(layer.ops) + 1)


class LatencyProfile(Protocol):
    """What the search needs of a measured profile."""

    @property
    def space(self) -> Space:
        """The space profiled."""

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Sides profiled, pixels."""

    def latency_ms(self, encoded: IntArray) -> FloatArray:
        """Predicted latency, float64 ``[n]``; raises ``MismatchError`` for a size not profiled."""


class AnalyticalEfficiencyPredictor:
    """Figures that follow from the layers alone.

    * ``millionMACs``: multiply-accumulates / 1e6, as OFA's ``Mbv3FLOPsModel`` counts them.
    * ``KBPeakMemory``: the largest input + output of a convolution or the classifier, in elements, times
      ``bytes_per_element``, / 1024 (within a residual block the depthwise convolution also holds the
      block's input): lab 3's definition, which takes int8, one byte an element.
    * ``params_million``: trainable parameters of the subnet / 1e6.
    * ``model_mb``: size of the exported fp32 file, at most, in 10^6 bytes.

    Args:
        space: a space or its id.
        bytes_per_element: of activations: 1 for int8 as in the lab, 4 for fp32.

    Raises:
        UnknownSpaceError: no space of that id.
        OptionError: ``bytes_per_element`` is not a whole number of at least 1.
    """

    def __init__(self, space: Space | str, *, bytes_per_element: int = 1) -> None:
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
        self._macs = self._by_place(lambda layer: layer.macs / 1e6)
        self._params = self._by_place(lambda layer: layer.params / 1e6)
        self._bytes = self._by_place(file_bytes) / 1e6
        self._file_bytes = _FILE_BYTES + _LABEL_BYTES * self.space.classes
        self._peak = self._by_place(lambda layer: layer.peak_elements) * bytes_per_element / 1024

    def _by_place(self, figure: Callable[[Layer], float]) -> FloatArray:
        """A figure of every choice of every slot; the absent row costs nothing."""
        rows = np.array([*(figure(row) for row in self.space.rows), 0], dtype=np.float64)
        values: FloatArray = rows[self.space.place_rows]
        return values

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the figures: what may be bounded."""
        return ("millionMACs", "KBPeakMemory", "params_million", "model_mb")

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Sides that can be priced, pixels."""
        return self.space.image_sizes

    def get_efficiency_batch(self, encoded: IntArray) -> Figures:
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
        return Figures(self._ways(encoded))

    def _ways(self, encoded: IntArray) -> dict[str, Callable[[], FloatArray]]:
        """How each figure is worked out, by name."""
        places = cache(lambda: self.space.places(encoded))
        return {
            "millionMACs": lambda: self._macs[places()].sum(axis=1),
            "KBPeakMemory": lambda: self._peak[places()].max(axis=1),
            "params_million": lambda: self._params[places()].sum(axis=1),
            "model_mb": lambda: self._bytes[places()].sum(axis=1) + self._file_bytes / 1e6,
        }

    def get_efficiency(self, arch: Architecture) -> dict[str, float]:
        """Figures of one architecture.

        Raises:
            ArchitectureError: not one of the space; names the key.
        """
        return {name: float(v[0]) for name, v in self.get_efficiency_batch(self.space.encode([arch])).items()}

    def satisfy_constraint(
        self, efficiency: Mapping[str, float], constraint: Mapping[str, float] | float
    ) -> bool:
        """Whether every figure bounded by ``constraint`` is at most its bound.

        Raises:
            BudgetError: a bound that is no positive finite number.
            OptionError: a bound on a figure that ``efficiency`` does not have.
        """
        return meets(efficiency, parse_budgets(constraint, efficiency))


class MeasuredEfficiencyPredictor(AnalyticalEfficiencyPredictor):
    """The analytical figures and ``latency_ms`` as a profile of a real device predicts it.

    Pricing an image size that was not profiled raises ``MismatchError``.

    Args:
        profile: a loaded profile, or anything like it.
        bytes_per_element: of activations, for ``KBPeakMemory``.
        others: profiles of further devices by name; each adds a figure ``latency_ms@NAME``.

    Raises:
        MismatchError: the profiles are of different spaces, or share no image size.
    """

    def __init__(
        self,
        profile: LatencyProfile,
        *,
        bytes_per_element: int = 1,
        others: Mapping[str, LatencyProfile] | None = None,
    ) -> None:
        super().__init__(profile.space, bytes_per_element=bytes_per_element)
        self.profile = profile
        self.others = dict(others or {})
        for name, other in self.others.items():
            if other.space.id != profile.space.id:
                raise MismatchError(
                    f"is of space {other.space.id}, the first of {profile.space.id}",
                    subject=f"profile {name}",
                )
        if not self.image_sizes:
            raise MismatchError("they hold no image size in common", subject="profiles")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the figures: what may be bounded."""
        return ("latency_ms", *map(on_device, self.others), *super().names)

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Sides that all devices were profiled for, pixels."""
        held = [set(p.image_sizes) for p in self.others.values()]
        return tuple(s for s in self.profile.image_sizes if all(s in sizes for sizes in held))

    def _ways(self, encoded: IntArray) -> dict[str, Callable[[], FloatArray]]:
        """Raises ``MismatchError`` when a latency is asked for of an image size that was not profiled."""
        profiles = {"latency_ms": self.profile, **{on_device(n): p for n, p in self.others.items()}}
        latencies = {name: partial(p.latency_ms, encoded) for name, p in profiles.items()}
        return {**latencies, **super()._ways(encoded)}


def on_device(name: str) -> str:
    """The figure that is a further device's latency."""
    return f"latency_ms@{name}"
