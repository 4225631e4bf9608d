"""The search with the predictors of others, on architectures of three numbers."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest

from deploy_nas.core.errors import InfeasibleBudgetError, MismatchError
from deploy_nas.core.space import Architecture
from deploy_nas.search import plain
from deploy_nas.search.evolution import HyperParameters
from deploy_nas.search.plain import PlainSearch, seeded_globals

SMALL = HyperParameters(population_size=8, max_time_budget=4, arch_mutate_prob=0.5)


class Encoder:
    """Draws from ``random``; counts calls of ``mutate_width`` where it has it."""

    def random_sample_arch(self) -> Architecture:
        return {"e": [random.randrange(1, 5) for _ in range(3)], "image_size": random.choice((16, 32))}

    def mutate_resolution(self, arch: Architecture, mutate_prob: float) -> None:
        if random.random() < mutate_prob:
            arch["image_size"] = random.choice((16, 32))

    def mutate_arch(self, arch: Architecture, mutate_prob: float) -> None:
        arch["e"] = [random.randrange(1, 5) if random.random() < mutate_prob else e for e in arch["e"]]


class Efficiency:
    def get_efficiency(self, arch: Architecture) -> float:
        return float(sum(arch["e"]))


def accuracy(archs: list[Architecture]) -> list[np.float64]:
    return [np.float64(10 * sum(arch["e"]) + arch["image_size"]) for arch in archs]


def search(**changes: object) -> PlainSearch[object]:
    parts = {
        "efficiency": Efficiency(),
        "accuracy": SimpleNamespace(arch_encoder=Encoder(), predict_acc=accuracy),
        "hyper": SMALL,
        "rng": np.random.default_rng(0),
    }
    return PlainSearch(**{**parts, **changes})


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(0)


def test_a_run_improves_within_the_constraint() -> None:
    seen = []
    history, (best, arch, efficiency) = search().run(7, lambda *progress: seen.append(progress))
    assert efficiency == sum(arch["e"]) <= 7
    assert best == history[-1] == max(history) and len(history) == 5
    assert [generation for generation, *_ in seen] == [1, 2, 3, 4]


def test_single_steps_keep_their_parents() -> None:
    one, two = ({"e": [1, 1, 1], "image_size": 16}, {"e": [2, 2, 2], "image_size": 32})
    child, efficiency = search().crossover_sample(one, two, 6)
    assert all(e in (1, 2) for e in child["e"]) and efficiency == sum(child["e"])
    mutant, _ = search().mutate_sample(one, 5)
    assert sum(mutant["e"]) <= 5
    assert one == {"e": [1, 1, 1], "image_size": 16}


def test_descent_reaches_what_draws_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_RANDOM_TRIES", 1)
    assert search().random_valid_sample(3)[0]["e"] == [1, 1, 1]


def test_an_impossible_constraint_names_the_nearest() -> None:
    for ask in (search().random_valid_sample, search().run):
        with pytest.raises(InfeasibleBudgetError, match=r"constraint: .*within 2: the nearest found has 3"):
            ask(2)
    with pytest.raises(InfeasibleBudgetError, match="within 2"):
        search().mutate_sample({"e": [4, 4, 4], "image_size": 16}, 2)


def test_costs_that_are_not_numbers() -> None:
    class Words:
        def get_efficiency(self, arch: Architecture) -> str:
            return "slow"

        def satisfy_constraint(self, efficiency: object, constraint: object) -> bool:
            return efficiency == constraint

    assert search(efficiency=Words()).random_valid_sample("slow")[1] == "slow"
    with pytest.raises(InfeasibleBudgetError, match="within fast: the nearest found has slow"):
        search(efficiency=Words()).random_valid_sample("fast")


def test_widths_are_mutated_where_the_encoder_can() -> None:
    class Wide(Encoder):
        calls = 0

        def mutate_width(self, arch: Architecture, mutate_prob: float) -> None:
            self.calls += 1

    encoder = Wide()
    both = SimpleNamespace(arch_encoder=encoder, predict_acc=accuracy)
    search(accuracy=both).mutate_sample({"e": [1, 1, 1], "image_size": 16}, 99)
    assert encoder.calls == 1


def test_a_predictor_that_loses_values() -> None:
    lossy = SimpleNamespace(arch_encoder=Encoder(), predict_acc=lambda archs: [1.0])
    with pytest.raises(MismatchError, match="returned 1 values for 8 architectures"):
        search(accuracy=lossy).run(99)


def test_global_generators_are_seeded_and_restored() -> None:
    own = np.random.default_rng(5)
    encoder = SimpleNamespace(rng=own)

    def drawn() -> tuple[float, float]:
        with seeded_globals(np.random.default_rng(3), encoder, active=True):
            assert encoder.rng is not own
            return random.random(), float(np.random.random())

    state = random.getstate()
    assert drawn() == drawn()
    assert encoder.rng is own and random.getstate() == state
    with seeded_globals(np.random.default_rng(3), encoder, active=False):
        assert encoder.rng is own
