from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deploy_nas.core.errors import BudgetError, InfeasibleBudgetError, MismatchError, OptionError
from deploy_nas.core.space import IntArray, Space
from deploy_nas.search import MeasuredEfficiencyPredictor
from deploy_nas.search.evolution import HyperParameters, SearchResult, evolve

SMALL = HyperParameters(population_size=24, max_time_budget=12)


@pytest.fixture
def run(toy: Space, fakes: SimpleNamespace) -> Any:
    predictor, accuracy = (
        MeasuredEfficiencyPredictor(fakes.Profile(toy, toy.image_sizes)),
        fakes.Accuracy(toy),
    )

    def search(constraint: dict[str, float], seed: int = 0, **options: Any) -> SearchResult:
        options = {"hyper": SMALL, "accuracy": accuracy.predict_encoded, **options}
        return evolve(
            toy,
            predictor.get_efficiency_batch,
            constraint=constraint,
            rng=np.random.default_rng(seed),
            **options,
        )

    search.predictor, search.accuracy = predictor, accuracy  # type: ignore[attr-defined]
    return search


def optimum(run: Any, rows: IntArray, constraint: dict[str, float]) -> float:
    figures = run.predictor.get_efficiency_batch(rows)
    meets = np.ones(len(rows), dtype=bool)
    for name, bound in constraint.items():
        meets &= figures[name] <= bound
    return float(run.accuracy.predict_encoded(rows[meets]).max())


@pytest.mark.parametrize(
    "constraint",
    [{"latency_ms": 0.04}, {"latency_ms": 0.08}, {"millionMACs": 2.0, "KBPeakMemory": 60}, {}],
    ids=str,
)
def test_finds_the_optimum_of_an_enumerable_space(
    run: Any, toy_all: IntArray, constraint: dict[str, float]
) -> None:
    for seed in range(3):
        result = run(constraint, seed)
        assert result.accuracy == pytest.approx(optimum(run, toy_all, constraint), abs=1e-9)


def test_the_result_is_consistent(run: Any, toy: Space) -> None:
    before = run.accuracy.asked
    result = run({"latency_ms": 0.06})
    assert result.evaluations == run.accuracy.asked - before
    assert result.efficiency == run.predictor.get_efficiency(result.architecture)
    assert result.efficiency["latency_ms"] <= 0.06
    assert result.accuracy == pytest.approx(run.accuracy.predict_acc([result.architecture])[0])
    assert toy.decode(result.encoded)[0] == result.architecture
    assert len(result.history) == SMALL.max_time_budget + 1
    assert list(result.history) == sorted(result.history) and result.history[-1] == result.accuracy
    assert not result.interrupted and result.budgets == {"latency_ms": 0.06}


def test_candidates_are_distinct_feasible_and_sorted(run: Any, toy: Space) -> None:
    result = run({"latency_ms": 0.06})
    assert 1 < len(result.candidates) <= SMALL.population_size
    np.testing.assert_array_equal(toy.canonical(result.candidates), result.candidates)
    assert len(np.unique(result.candidates, axis=0)) == len(result.candidates)
    assert (run.predictor.get_efficiency_batch(result.candidates)["latency_ms"] <= 0.06).all()
    assert (np.diff(result.candidate_accuracy) <= 0).all()
    np.testing.assert_array_equal(result.candidates[0], result.encoded)


def test_same_seed_same_answer(run: Any) -> None:
    a, b = run({"latency_ms": 0.06}, 5), run({"latency_ms": 0.06}, 5)
    np.testing.assert_array_equal(a.candidates, b.candidates)
    assert (a.history, a.evaluations) == (b.history, b.evaluations)


def test_ties_are_broken_alike(run: Any) -> None:
    found = {
        run({}, seed, accuracy=lambda rows: np.zeros(len(rows)), refine=False).encoded.tobytes()
        for seed in (1, 1)
    }
    assert len(found) == 1


def test_image_sizes_are_kept_to(run: Any) -> None:
    assert run({"latency_ms": 0.2}, image_sizes=(16,)).architecture["image_size"] == 16


def test_a_budget_only_the_smallest_meets(run: Any, toy: Space) -> None:
    smallest = toy.smallest(16)
    least = run.predictor.get_efficiency(smallest)["latency_ms"]
    result = run({"latency_ms": least})
    assert result.architecture == smallest
    assert len(result.candidates) == 1


def test_descent_finds_what_random_draws_do_not(real: Space, fakes: SimpleNamespace) -> None:
    predictor = MeasuredEfficiencyPredictor(fakes.Profile(real, real.image_sizes))
    least = predictor.get_efficiency(real.smallest())["latency_ms"]
    result = evolve(
        real,
        predictor.get_efficiency_batch,
        fakes.Accuracy(real).predict_encoded,
        {"latency_ms": least * 1.03},
        hyper=SMALL,
        rng=np.random.default_rng(0),
    )
    assert result.efficiency["latency_ms"] <= least * 1.03
    assert len(result.candidates) > 1


def test_infeasible_names_the_budget_and_the_nearest(run: Any, toy: Space) -> None:
    least = run.predictor.get_efficiency(toy.smallest(16))
    with pytest.raises(InfeasibleBudgetError) as caught:
        run({"latency_ms": 0.001})
    assert caught.value.subject == "latency_ms"
    assert f"the fastest architecture found takes {least['latency_ms']:.4g} ms" in str(caught.value)
    with pytest.raises(InfeasibleBudgetError, match="KBPeakMemory"):
        run({"latency_ms": 1.0, "KBPeakMemory": 0.5})


def test_infeasible_only_together(toy: Space) -> None:
    def figures(rows: IntArray) -> dict[str, np.ndarray]:
        share = rows[:, 1:].mean(axis=1)
        return {"a": 1 + share, "b": 2 - share}

    with pytest.raises(InfeasibleBudgetError, match="not all at once"):
        evolve(
            toy,
            figures,
            lambda rows: np.zeros(len(rows)),
            {"a": 1.2, "b": 1.2},
            rng=np.random.default_rng(0),
            image_sizes=(16,),
        )


def test_bad_budgets(run: Any) -> None:
    with pytest.raises(BudgetError):
        run({"latency_ms": float("nan")})
    with pytest.raises(OptionError):
        run({"joules": 1})


def test_nan_accuracies_are_last(run: Any) -> None:
    def accuracy(rows: IntArray) -> np.ndarray:
        values = run.accuracy.predict_encoded(rows)
        values[rows[:, 0] == 1] = np.nan
        return values

    assert run({}, accuracy=accuracy).architecture["image_size"] == 16


def test_a_predictor_that_loses_values(run: Any) -> None:
    with pytest.raises(MismatchError, match="accuracy predictor"):
        run({}, accuracy=lambda rows: np.zeros(3))


def test_progress_and_interruption(run: Any) -> None:
    seen = []

    def progress(generation: int, total: int, best: float) -> None:
        seen.append((generation, total, best))
        if generation == 5:
            raise KeyboardInterrupt

    result = run({"latency_ms": 0.06}, progress=progress)
    assert result.interrupted
    assert [s[:2] for s in seen] == [(n, 12) for n in range(1, 6)]
    assert result.accuracy == seen[-1][2] == result.history[-1]


def test_no_generations_at_all(run: Any) -> None:
    result = run({"latency_ms": 0.06}, hyper=HyperParameters(max_time_budget=0, population_size=4))
    assert result.history == (result.accuracy,)


def test_restarts_and_the_last_leg_keep_what_was_found(run: Any, toy_all: IntArray) -> None:
    hyper = HyperParameters(max_time_budget=100, population_size=8)
    result = run({"latency_ms": 0.05}, hyper=hyper, refine=False)
    assert list(result.history) == sorted(result.history)
    assert result.accuracy == pytest.approx(optimum(run, toy_all, {"latency_ms": 0.05}), abs=1e-9)


def test_refinement_earns_its_place(real: Space, fakes: SimpleNamespace) -> None:
    predictor = MeasuredEfficiencyPredictor(fakes.Profile(real, real.image_sizes))
    accuracy = fakes.Accuracy(real).predict_encoded
    found: dict[bool, list[float]] = {True: [], False: []}
    for refine in found:
        for seed in range(2):
            result = evolve(
                real,
                predictor.get_efficiency_batch,
                accuracy,
                {"latency_ms": 0.35},
                hyper=SMALL,
                rng=np.random.default_rng(seed),
                refine=refine,
            )
            found[refine].append(result.accuracy)
    assert min(found[True]) > max(found[False])
    assert np.ptp(found[True]) < np.ptp(found[False])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("arch_mutate_prob", 1.1),
        ("resolution_mutate_prob", -0.1),
        ("parent_ratio", float("nan")),
        ("mutation_ratio", "half"),
        ("population_size", 1),
        ("population_size", 10.5),
        ("population_size", True),
        ("max_time_budget", -1),
    ],
)
def test_hyper_parameters_out_of_range(name: str, value: object) -> None:
    with pytest.raises(OptionError) as caught:
        HyperParameters().updated({name: value})
    assert caught.value.subject == name


def test_unknown_hyper_parameter_lists_the_known() -> None:
    with pytest.raises(OptionError, match=r"mutate_prob: .*arch_mutate_prob.*mutation_ratio"):
        HyperParameters().updated({"mutate_prob": 0.1})
    assert HyperParameters().updated({"population_size": 50}).parents == 12
