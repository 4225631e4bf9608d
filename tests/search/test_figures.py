"""A new figure is one entry of ``core.figures`` and one function of ``search.efficiency``."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from deploy_nas.core import figures
from deploy_nas.core.errors import InfeasibleBudgetError, OptionError
from deploy_nas.core.figures import ANALYTICAL, Figure
from deploy_nas.core.space import Space
from deploy_nas.search import AnalyticalEfficiencyPredictor, EvolutionSearcher, MeasuredEfficiencyPredictor
from deploy_nas.search.efficiency import PRICING, Price, by_choice, total

ENERGY = Figure(
    name="energy_mj",
    label="energy",
    unit="mJ",
    option="--max-energy-mj",
    help="Energy budget.",
    decimals=3,
    least="the most frugal architecture found takes",
)


def energy(space: Space, bytes_per_element: int) -> Price:
    """2 mJ per million MACs and 1 mJ for the whole run."""
    return partial(total, by_choice(space, lambda layer: 2e-6 * layer.macs), 1.0)


@pytest.fixture
def with_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(figures.FIGURES, ENERGY.name, ENERGY)
    monkeypatch.setitem(PRICING, ENERGY.name, energy)


def test_every_analytical_figure_has_its_function() -> None:
    assert list(PRICING) == [figure.name for figure in ANALYTICAL]


def test_the_new_figure_is_priced_and_satisfied(with_energy: None, toy: Space) -> None:
    predictor = AnalyticalEfficiencyPredictor(toy)
    efficiency = predictor.get_efficiency(toy.largest())
    assert predictor.names == tuple(efficiency) and predictor.names[-1] == "energy_mj"
    assert efficiency["energy_mj"] == pytest.approx(1 + 2 * efficiency["millionMACs"])
    assert predictor.satisfy_constraint(efficiency, {"energy_mj": efficiency["energy_mj"]})
    assert not predictor.satisfy_constraint(efficiency, {"energy_mj": 0.9 * efficiency["energy_mj"]})


def test_the_new_figure_is_bounded_in_a_search(with_energy: None, toy: Space, fakes: SimpleNamespace) -> None:
    predictor = MeasuredEfficiencyPredictor(fakes.Profile(toy, toy.image_sizes))
    searcher = EvolutionSearcher(
        predictor, fakes.Accuracy(toy), seed=0, population_size=12, max_time_budget=4
    )
    largest = predictor.get_efficiency(toy.largest())["energy_mj"]
    _, architecture, efficiency = searcher.run_search({"energy_mj": 0.5 * largest})
    assert efficiency["energy_mj"] <= 0.5 * largest
    batch = predictor.get_efficiency_batch(toy.encode([architecture]))
    np.testing.assert_array_equal(batch["energy_mj"], [efficiency["energy_mj"]])


def test_the_new_figure_is_named_where_nothing_meets_it(
    with_energy: None, toy: Space, fakes: SimpleNamespace
) -> None:
    predictor = AnalyticalEfficiencyPredictor(toy)
    least = predictor.get_efficiency(toy.smallest(16))["energy_mj"]
    with pytest.raises(
        InfeasibleBudgetError, match=f"the most frugal architecture found takes {least:.4g} mJ"
    ) as caught:
        EvolutionSearcher(predictor, fakes.Accuracy(toy), seed=0).run_search({"energy_mj": 0.5})
    assert caught.value.subject == "energy_mj"


def test_without_the_entry_the_figure_is_unknown(toy: Space, fakes: SimpleNamespace) -> None:
    with pytest.raises(OptionError, match="energy_mj: unknown figure; known are millionMACs"):
        EvolutionSearcher(AnalyticalEfficiencyPredictor(toy), fakes.Accuracy(toy)).run_search(
            {"energy_mj": 3}
        )
