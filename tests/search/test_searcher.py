from __future__ import annotations

import logging
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deploy_nas.core.errors import BudgetError, InfeasibleBudgetError, MismatchError, OptionError
from deploy_nas.core.space import Space
from deploy_nas.search import AnalyticalEfficiencyPredictor, EvolutionSearcher, MeasuredEfficiencyPredictor

SMALL = {"population_size": 20, "max_time_budget": 8}
SIX = {
    "arch_mutate_prob": 0.1,
    "resolution_mutate_prob": 0.5,
    "population_size": 100,
    "max_time_budget": 500,
    "parent_ratio": 0.25,
    "mutation_ratio": 0.5,
}


class DictsOnly:
    """The seed's interface and nothing more."""

    def __init__(self, efficiency: Any) -> None:
        self._efficiency, self.calls = efficiency, 0

    def get_efficiency(self, arch: dict[str, Any]) -> dict[str, float]:
        self.calls += 1
        return self._efficiency.get_efficiency(arch)

    def satisfy_constraint(self, measured: dict[str, float], target: dict[str, float]) -> bool:
        return all(measured[key] <= target[key] for key in measured if key in target)


class ScalarOnly(DictsOnly):
    """OFA's interface: efficiency is a number, compared with ``<=``."""

    satisfy_constraint = None  # type: ignore[assignment]

    def __getattribute__(self, name: str) -> Any:
        if name == "satisfy_constraint":
            raise AttributeError(name)
        return super().__getattribute__(name)

    def get_efficiency(self, arch: dict[str, Any]) -> float:  # type: ignore[override]
        return super().get_efficiency(arch)["millionMACs"]


class GlobalEncoder:
    """As OFA's: draws from ``random``, has no ``mutate_width``, knows no space."""

    def __init__(self, toy: Space) -> None:
        self._toy = toy

    def random_sample_arch(self) -> dict[str, Any]:
        choose = random.choice
        return {
            "ks": [choose((3, 5)) for _ in range(4)],
            "e": [choose((2, 3)) for _ in range(4)],
            "d": [choose((1, 2)) for _ in range(2)],
            "image_size": choose(self._toy.image_sizes),
        }

    def mutate_resolution(self, arch: dict[str, Any], p: float) -> None:
        if random.random() < p:
            arch["image_size"] = random.choice(self._toy.image_sizes)

    def mutate_arch(self, arch: dict[str, Any], p: float) -> None:
        for key, choices in (("ks", (3, 5)), ("e", (2, 3)), ("d", (1, 2))):
            for i in range(len(arch[key])):
                if random.random() < p:
                    arch[key][i] = random.choice(choices)


@pytest.fixture
def ours(toy: Space, fakes: SimpleNamespace) -> tuple[Any, Any]:
    return MeasuredEfficiencyPredictor(fakes.Profile(toy, toy.image_sizes)), fakes.Accuracy(toy)


@pytest.fixture
def theirs(toy: Space, ours: tuple[Any, Any]) -> tuple[Any, Any]:
    accuracy = SimpleNamespace(
        arch_encoder=GlobalEncoder(toy),
        predict_acc=lambda archs: [np.array(a) for a in ours[1].predict_acc(archs)],
    )
    return DictsOnly(ours[0]), accuracy


def test_hyper_parameters_are_attributes(ours: tuple[Any, Any]) -> None:
    searcher = EvolutionSearcher(*ours, population_size=30)
    assert {name: getattr(searcher, name) for name in SIX} == {**SIX, "population_size": 30}
    searcher.update_hyper_params({"parent_ratio": 0.5})
    searcher.max_time_budget = 3
    assert (searcher.hyper.parents, searcher.hyper.max_time_budget) == (15, 3)


def test_unknown_hyper_parameters(ours: tuple[Any, Any]) -> None:
    with pytest.raises(OptionError, match=r"mutate_prob: .*arch_mutate_prob"):
        EvolutionSearcher(*ours, mutate_prob=0.1)
    searcher = EvolutionSearcher(*ours)
    with pytest.raises(OptionError, match="populationsize"):
        searcher.update_hyper_params({"populationsize": 3})
    with pytest.raises(OptionError, match="generations"):
        searcher.run_search({"latency_ms": 0.06}, generations=3)
    searcher.parent_ratio = 7
    with pytest.raises(OptionError, match="parent_ratio"):
        searcher.run_search({"latency_ms": 0.06})


def check(answer: Any, ours: tuple[Any, Any], constraint: dict[str, float]) -> None:
    history, (accuracy, architecture, efficiency) = answer
    assert history == sorted(history) and history[-1] == accuracy
    assert accuracy == pytest.approx(ours[1].predict_acc([architecture])[0])
    assert ours[0].satisfy_constraint(ours[0].get_efficiency(architecture), constraint)
    if isinstance(efficiency, dict):
        assert efficiency == ours[0].get_efficiency(architecture)


def test_a_run_with_ours(ours: tuple[Any, Any]) -> None:
    searcher = EvolutionSearcher(*ours, seed=1, **SMALL)
    constraint = {"latency_ms": 0.06, "KBPeakMemory": 100}
    answer = searcher.run_evolution_search(constraint)
    check(answer, ours, constraint)
    assert searcher.run_search(constraint) == answer[1]
    assert searcher.run_evolution_search(constraint, False) == answer
    assert EvolutionSearcher(*ours, **SMALL).run_search(constraint, seed=1) == answer[1]
    assert searcher.search(constraint).architecture == answer[1][1]


def test_a_run_changes_hyper_parameters_for_good(ours: tuple[Any, Any]) -> None:
    searcher = EvolutionSearcher(*ours, seed=1, **SMALL)
    history, _ = searcher.run_evolution_search({"latency_ms": 0.06}, max_time_budget=3)
    assert len(history) == 4 and searcher.max_time_budget == 3


def test_a_number_bounds_latency_or_macs(ours: tuple[Any, Any], toy: Space) -> None:
    best = EvolutionSearcher(*ours, seed=1, **SMALL).run_search(0.06)
    assert best[2]["latency_ms"] <= 0.06
    analytical = AnalyticalEfficiencyPredictor(toy)
    best = EvolutionSearcher(analytical, ours[1], seed=1, **SMALL).run_search(1.5)
    assert best[2]["millionMACs"] <= 1.5


def test_our_pricing_with_a_predictor_of_dicts(ours: tuple[Any, Any]) -> None:
    accuracy = SimpleNamespace(arch_encoder=ours[1].arch_encoder, predict_acc=ours[1].predict_acc)
    constraint = {"latency_ms": 0.06}
    whole = EvolutionSearcher(*ours, seed=1, **SMALL).run_search(constraint)
    assert EvolutionSearcher(ours[0], accuracy, seed=1, **SMALL).run_search(constraint) == whole


def test_sizes_that_were_not_profiled_are_not_drawn(toy: Space, fakes: SimpleNamespace) -> None:
    efficiency, accuracy = MeasuredEfficiencyPredictor(fakes.Profile(toy, (16,))), fakes.Accuracy(toy)
    searcher = EvolutionSearcher(efficiency, accuracy, seed=0, **SMALL)
    assert searcher.run_search({"latency_ms": 1})[1]["image_size"] == 16
    for _ in range(5):
        assert searcher.random_valid_sample({"latency_ms": 1})[0]["image_size"] == 16


def test_predictors_that_do_not_belong_together(
    ours: tuple[Any, Any], toy: Space, real: Space, fakes: SimpleNamespace
) -> None:
    with pytest.raises(MismatchError, match=r"ofa-mbv3-cifar10.*toy"):
        EvolutionSearcher(ours[0], fakes.Accuracy(real))
    with pytest.raises(MismatchError, match="image sizes"):
        EvolutionSearcher(
            MeasuredEfficiencyPredictor(fakes.Profile(toy, (16,))), fakes.Accuracy(toy, image_sizes=(32,))
        )


@pytest.mark.parametrize("kind", ["ours", "theirs"])
def test_single_steps(kind: str, request: pytest.FixtureRequest, ours: tuple[Any, Any]) -> None:
    searcher = EvolutionSearcher(*request.getfixturevalue(kind), seed=2)
    constraint = {"latency_ms": 0.06}
    one, efficiency = searcher.random_valid_sample(constraint)
    other, _ = searcher.random_valid_sample(constraint)
    kept = repr((one, other))
    mutant, mutant_efficiency = searcher.mutate_sample(one, constraint)
    child, child_efficiency = searcher.crossover_sample(one, other, constraint)
    assert repr((one, other)) == kept
    for arch, figures in ((one, efficiency), (mutant, mutant_efficiency), (child, child_efficiency)):
        assert figures == ours[0].get_efficiency(arch) and figures["latency_ms"] <= 0.06
    for i, value in enumerate(child["ks"]):
        assert value in (one["ks"][i], other["ks"][i])


@pytest.mark.parametrize("kind", ["ours", "theirs"])
def test_infeasible_is_an_error_that_names_the_nearest(
    kind: str, request: pytest.FixtureRequest, toy: Space
) -> None:
    efficiency, accuracy = request.getfixturevalue(kind)
    searcher = EvolutionSearcher(efficiency, accuracy, seed=2, **SMALL)
    least = efficiency.get_efficiency(toy.smallest(16))["latency_ms"]
    largest, constraint = toy.largest(32), {"latency_ms": least * 0.9}
    for ask in (searcher.random_valid_sample, searcher.run_search):
        with pytest.raises(InfeasibleBudgetError, match=f"{least:.4g}") as caught:
            ask(constraint)
        assert caught.value.subject == "latency_ms"
    with pytest.raises(InfeasibleBudgetError, match="latency_ms"):
        searcher.mutate_sample(largest, constraint)
    with pytest.raises(InfeasibleBudgetError, match="latency_ms"):
        searcher.crossover_sample(largest, largest, constraint)


def test_bad_budgets(ours: tuple[Any, Any]) -> None:
    searcher = EvolutionSearcher(*ours)
    with pytest.raises(BudgetError, match="latency_ms"):
        searcher.run_search({"latency_ms": -1})
    with pytest.raises(OptionError, match="joules"):
        searcher.random_valid_sample({"joules": 1})


def test_a_run_with_theirs(theirs: tuple[Any, Any], ours: tuple[Any, Any]) -> None:
    constraint = {"latency_ms": 0.06}
    state, numpy_state = random.getstate(), np.random.get_state()[1].copy()
    answer = EvolutionSearcher(*theirs, seed=1, **SMALL).run_evolution_search(constraint)
    check(answer, ours, constraint)
    assert random.getstate() == state and (np.random.get_state()[1] == numpy_state).all()
    random.seed(99)
    assert EvolutionSearcher(*theirs, seed=1, **SMALL).run_search(constraint) == answer[1]
    with pytest.raises(MismatchError, match="batch"):
        EvolutionSearcher(*theirs).search(constraint)


def test_one_seed_is_one_run_with_our_encoder_and_their_prices(ours: tuple[Any, Any]) -> None:
    """The encoder's own generator moves on from run to run; a seed holds for it too."""
    searcher = EvolutionSearcher(DictsOnly(ours[0]), ours[1], seed=1, **SMALL)
    own = ours[1].arch_encoder.rng
    first = searcher.run_search({"latency_ms": 0.06})
    ours[1].arch_encoder.random_sample_arch()
    assert searcher.run_search({"latency_ms": 0.06}) == first
    assert ours[1].arch_encoder.rng is own


def test_invalid_seeds_and_bounds(theirs: tuple[Any, Any], ours: tuple[Any, Any]) -> None:
    with pytest.raises(OptionError, match="seed"):
        EvolutionSearcher(*ours, seed=-1)
    with pytest.raises(InfeasibleBudgetError):
        EvolutionSearcher(ScalarOnly(ours[0]), theirs[1], seed=1, **SMALL).run_search(0)


def test_a_run_with_ofas_numbers(theirs: tuple[Any, Any], ours: tuple[Any, Any]) -> None:
    searcher = EvolutionSearcher(ScalarOnly(ours[0]), theirs[1], seed=1, **SMALL)
    answer = searcher.run_evolution_search(1.5)
    check(answer, ours, {"millionMACs": 1.5})
    assert isinstance(answer[1][2], float)
    with pytest.raises(InfeasibleBudgetError, match="nearest found"):
        searcher.run_search(0.01)


def test_interrupted_with_theirs(theirs: tuple[Any, Any]) -> None:
    def progress(generation: int, total: int, best: float) -> None:
        if generation == 3:
            raise KeyboardInterrupt

    history, best = EvolutionSearcher(*theirs, seed=1, **SMALL).run_evolution_search(
        {"latency_ms": 0.06}, progress=progress
    )
    assert len(history) == 4 and best[0] == history[-1]


def test_verbose_reports_to_the_log(ours: tuple[Any, Any], caplog: pytest.LogCaptureFixture) -> None:
    searcher = EvolutionSearcher(*ours, seed=1, population_size=4, max_time_budget=100)
    with caplog.at_level(logging.INFO, logger="deploy_nas"):
        searcher.run_search({"latency_ms": 0.06}, verbose=True)
    assert "generation 100 of 100" in caplog.text
