"""A client as a notebook has it, written against OFA's tutorial interface, and a whole search with it.

It uses only ``get_efficiency``, ``satisfy_constraint``, ``predict_acc`` and ``arch_encoder``.
"""

from __future__ import annotations

import copy
import random
from types import SimpleNamespace
from typing import Any

import pytest

from deploy_nas.core.space import Space
from deploy_nas.search import AnalyticalEfficiencyPredictor, MeasuredEfficiencyPredictor


class NotebookSearch:
    """One candidate at a time, as people write it."""

    def __init__(self, efficiency_predictor: Any, accuracy_predictor: Any) -> None:
        self.efficiency_predictor = efficiency_predictor
        self.accuracy_predictor = accuracy_predictor

    def valid(self, make: Any, constraint: dict[str, float]) -> dict[str, Any]:
        while True:
            sample = make()
            efficiency = self.efficiency_predictor.get_efficiency(sample)
            if self.efficiency_predictor.satisfy_constraint(efficiency, constraint):
                return sample

    def mutant(self, sample: dict[str, Any]) -> dict[str, Any]:
        encoder, child = self.accuracy_predictor.arch_encoder, copy.deepcopy(sample)
        encoder.mutate_resolution(child, 0.5)
        encoder.mutate_width(child, 0.1)
        encoder.mutate_arch(child, 0.1)
        return child

    def child(self, a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
        new = copy.deepcopy(a)
        for key in new:
            if not isinstance(new[key], list):
                new[key] = random.choice([a[key], b[key]])
            else:
                for i in range(len(new[key])):
                    new[key][i] = random.choice([a[key][i], b[key][i]])
        return new

    def search(self, constraint: dict[str, float], size: int, generations: int) -> tuple[Any, ...]:
        draw = self.accuracy_predictor.arch_encoder.random_sample_arch
        pool = [self.valid(draw, constraint) for _ in range(size)]
        scored = self.score(pool)
        first = max(scored, key=lambda one: one[0])
        for _ in range(generations):
            parents = sorted(scored, key=lambda one: one[0])[::-1][: size // 4]
            archs = [arch for _, arch in parents]
            pool = [
                self.valid(lambda a=archs: self.mutant(random.choice(a)), constraint)
                for _ in range(size // 2)
            ]
            pool += [
                self.valid(lambda a=archs: self.child(random.choice(a), random.choice(a)), constraint)
                for _ in range(size - size // 2)
            ]
            scored = parents + self.score(pool)
        return first, max(scored, key=lambda one: one[0])

    def score(self, pool: list[dict[str, Any]]) -> list[tuple[float, dict[str, Any]]]:
        accs = self.accuracy_predictor.predict_acc(pool)
        return [(accs[i].item(), pool[i]) for i in range(len(pool))]


@pytest.mark.parametrize("measured", [True, False])
def test_a_notebook_searches_with_our_predictors(real: Space, fakes: SimpleNamespace, measured: bool) -> None:
    random.seed(1)
    accuracy = fakes.Accuracy(real)
    if measured:
        efficiency = MeasuredEfficiencyPredictor(fakes.Profile(real, real.image_sizes))
        budget = efficiency.get_efficiency(real.largest(24))["latency_ms"] * 0.75
        constraint = {"latency_ms": budget, "KBPeakMemory": 256}
    else:
        efficiency = AnalyticalEfficiencyPredictor("ofa-mbv3-cifar10")
        constraint = {"millionMACs": efficiency.get_efficiency(real.largest(24))["millionMACs"] * 0.75}
    first, best = NotebookSearch(efficiency, accuracy).search(constraint, size=20, generations=10)
    assert best[0] > first[0]
    figures = efficiency.get_efficiency(best[1])
    assert all(figures[name] <= bound for name, bound in constraint.items())
    real.validate(best[1])
