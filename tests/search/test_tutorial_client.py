"""A client as a notebook has it, written against OFA's tutorial interface, and a whole search with it.

It uses only ``get_efficiency``, ``satisfy_constraint``, ``predict_acc`` and ``arch_encoder``. OFA's own
finders run with our predictors too, as they are.
"""

from __future__ import annotations

import copy
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deploy_nas.accuracy.encoding import WITH_TOTALS, feature_layout
from deploy_nas.accuracy.predictor import AccuracyPredictor
from deploy_nas.adapters.mlp import MLP
from deploy_nas.core.space import Space
from deploy_nas.core.spaces import get_space
from deploy_nas.search import AnalyticalEfficiencyPredictor, EvolutionSearcher, MeasuredEfficiencyPredictor


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


# -- OFA's own finders, as the package has them -----------------------------------------------------


@pytest.fixture(scope="module")
def published() -> Space:
    return get_space("ofa-mbv3-w1.2")


def accuracy_for(space: Space) -> AccuracyPredictor:
    """A predictor with weights of our own making."""
    layout = feature_layout(space, WITH_TOTALS)
    weight = np.linspace(0.0, 1.0, len(layout.columns), dtype=np.float32)[:, None]
    mlp = MLP(members=(((weight, np.zeros(1, dtype=np.float32)),),))
    return AccuracyPredictor(space=space, layout=layout, mlp=mlp)


@pytest.mark.slow
@pytest.mark.parametrize("measured", [True, False])
def test_the_tutorials_finder_searches_with_our_predictors(
    published: Space, fakes: SimpleNamespace, measured: bool
) -> None:
    """It draws samples with its own keys: ``r``, and ``wid`` of ``None``."""
    from ofa.tutorial.evolution_finder import EvolutionFinder

    random.seed(1)
    np.random.seed(1)
    accuracy = accuracy_for(published)
    if measured:
        efficiency = MeasuredEfficiencyPredictor(fakes.Profile(published, published.image_sizes))
        kind, bound, figure = "note10", 15, "latency_ms"
    else:
        efficiency = AnalyticalEfficiencyPredictor(published)
        kind, bound, figure = "flops", 450, "millionMACs"
    finder = EvolutionFinder(kind, bound, efficiency, accuracy, population_size=20, max_time_budget=4)
    history, (top1, sample, found) = finder.run_evolution_search()
    assert set(sample) == {"wid", "ks", "e", "d", "r"}
    assert history[-1] == top1 == accuracy.predict_acc([sample])[0]
    assert found <= bound and found == efficiency.get_efficiency(sample)[figure]
    published.validate(sample)
    ours = {**{key: sample[key] for key in ("ks", "e", "d")}, "image_size": sample["r"][0]}
    assert np.array_equal(published.encode([sample]), published.encode([ours]))


@pytest.mark.slow
def test_the_finder_of_ofas_package_searches_with_our_predictors(real: Space, fakes: SimpleNamespace) -> None:
    from ofa.nas.search_algorithm import EvolutionFinder

    random.seed(1)
    np.random.seed(1)
    efficiency = MeasuredEfficiencyPredictor(fakes.Profile(real, real.image_sizes))
    bound = efficiency.predict_efficiency(real.largest(24)) * 0.75
    finder = EvolutionFinder(efficiency, accuracy_for(real), population_size=20, max_time_budget=4)
    history, (top1, sample, figures) = finder.run_evolution_search(bound)
    assert history[-1] == top1 and figures["latency_ms"] <= bound
    real.validate(sample)


def test_our_searcher_takes_predictors_in_the_tutorials_spelling(real: Space, fakes: SimpleNamespace) -> None:
    ours, accuracy = AnalyticalEfficiencyPredictor(real), fakes.Accuracy(real)
    efficiency = SimpleNamespace(predict_efficiency=ours.predict_efficiency)
    spelled = SimpleNamespace(predict_accuracy=accuracy.predict_acc, arch_encoder=accuracy.arch_encoder)
    bound = ours.predict_efficiency(real.largest(24)) * 0.75
    searcher = EvolutionSearcher(efficiency, spelled, seed=0, population_size=8, max_time_budget=2)
    _, architecture, found = searcher.run_search(bound)
    assert found == ours.predict_efficiency(architecture) <= bound
