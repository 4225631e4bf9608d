"""The search room: a latency table and an accuracy predictor in, architectures out; free of frameworks."""

from deploy_nas.search.efficiency import (
    AnalyticalEfficiencyPredictor,
    LatencyProfile,
    MeasuredEfficiencyPredictor,
)
from deploy_nas.search.evolution import HyperParameters, SearchResult, evolve
from deploy_nas.search.searcher import EvolutionSearcher

__all__ = [
    "AnalyticalEfficiencyPredictor",
    "EvolutionSearcher",
    "HyperParameters",
    "LatencyProfile",
    "MeasuredEfficiencyPredictor",
    "SearchResult",
    "evolve",
]
