"""Figures of one's own, such as energy or money: a function of an architecture, or of whole generations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import numpy as np

from deploy_nas.core.errors import OptionError
from deploy_nas.core.figures import figure_of
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.space import FloatArray, IntArray, Space


class FigureOfRows(Protocol):
    """A figure of encoded architectures, int64 ``[n, 1 + genes]``: a whole generation at once."""

    def predict_encoded(self, encoded: IntArray, /) -> FloatArray:
        """One value each, float64 ``[n]``, lower is better."""


OwnFigure = Callable[[Mapping[str, object]], float] | FigureOfRows


def check_names(names: Iterable[str]) -> None:
    """Raise :class:`OptionError` for a name that another figure or a key of files has."""
    for name in names:
        taken = figure_of(name) is not None or name in Predicted.__dataclass_fields__
        if taken or not name.isidentifier():
            why = "is taken" if taken else "must be a name such as energy_mj"
            raise OptionError(why, subject=f"figures: {name}")


def own_values(figure: OwnFigure, name: str, space: Space, encoded: IntArray) -> FloatArray:
    """A figure of encoded architectures; raises :class:`OptionError` unless they are finite numbers."""
    if callable(figure):
        found = [figure(architecture) for architecture in space.decode(encoded)]
        values = np.asarray(found, dtype=np.float64)
    else:
        values = np.asarray(figure.predict_encoded(encoded), dtype=np.float64)
    if values.shape != (len(encoded),) or not np.isfinite(values).all():
        raise OptionError(
            f"must give a finite number for each of {len(encoded)} architectures", subject=f"figures: {name}"
        )
    return values
