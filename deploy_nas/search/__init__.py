"""The search room: a latency table and an accuracy predictor in, architectures out; free of frameworks."""

import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType

from deploy_nas.search.efficiency import (
    AnalyticalEfficiencyPredictor,
    LatencyProfile,
    MeasuredEfficiencyPredictor,
)
from deploy_nas.search.evolution import HyperParameters, SearchResult, evolve
from deploy_nas.search.searcher import EvolutionSearcher


class _Room(ModuleType):
    """This package under the name of the public function ``deploy_nas.search``: called, it is that."""

    def __call__(self, *arguments: object, **named: object) -> object:
        return self._function(*arguments, **named)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @property
    def _function(self) -> Callable[..., object]:  # type: ignore[explicit-any]
        # by name: the function stands on a higher floor
        function: Callable[..., object] = importlib.import_module("deploy_nas.api.searching").search  # type: ignore[explicit-any]
        return function


sys.modules[__name__].__class__ = _Room

__all__ = [
    "AnalyticalEfficiencyPredictor",
    "EvolutionSearcher",
    "HyperParameters",
    "LatencyProfile",
    "MeasuredEfficiencyPredictor",
    "SearchResult",
    "evolve",
]
