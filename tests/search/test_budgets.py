from __future__ import annotations

import math

import numpy as np
import pytest

from deploy_nas.core.errors import BudgetError, OptionError
from deploy_nas.core.figures import FIGURES, Figure
from deploy_nas.search.budgets import (
    LazyFigures,
    allow_at_least,
    excess,
    infeasible,
    meets,
    parse_budgets,
)

NAMES = ("latency_ms", "millionMACs", "KBPeakMemory")


def test_names_and_numbers() -> None:
    assert parse_budgets({"latency_ms": 3, "millionMACs": np.float32(2.5)}, NAMES) == {
        "latency_ms": 3.0,
        "millionMACs": 2.5,
    }
    assert parse_budgets({}, NAMES) == {}


def test_a_bare_number_is_latency_where_it_is_known() -> None:
    assert parse_budgets(5, NAMES) == {"latency_ms": 5.0}
    assert parse_budgets(5, NAMES[1:]) == {"millionMACs": 5.0}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1, 0, True, "3", None, [1], np.bool_(True)])
def test_invalid_budget(bad: object) -> None:
    with pytest.raises(BudgetError) as caught:
        parse_budgets({"millionMACs": bad}, NAMES)
    assert caught.value.subject == "millionMACs"


@pytest.mark.parametrize("bad", [None, "fast", [3.0]])
def test_invalid_constraint(bad: object) -> None:
    with pytest.raises(BudgetError, match="latency_ms"):
        parse_budgets(bad, NAMES)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(OptionError, match=r"watts: .*latency_ms, millionMACs, KBPeakMemory"):
        parse_budgets({"watts": 3}, NAMES)


def test_excess_is_the_worst_ratio() -> None:
    figures = {"latency_ms": np.array([1.0, 3.0, np.nan]), "millionMACs": np.array([10.0, 10.0, 10.0])}
    np.testing.assert_allclose(excess(figures, {"latency_ms": 2, "millionMACs": 20}), [0.5, 1.5, np.inf])
    np.testing.assert_array_equal(excess(figures, {}), [0, 0, 0])
    assert meets({"latency_ms": 2.0}, {"latency_ms": 2.0})
    assert not meets({"latency_ms": math.nan}, {"latency_ms": 2.0})


def test_infeasible_names_what_binds() -> None:
    alone = infeasible({"latency_ms": 2.0}, {"latency_ms": 3.2}, alone=True)
    assert alone.subject == "latency_ms"
    assert "the fastest architecture found takes 3.2 ms" in str(alone)
    both = infeasible(
        {"latency_ms": 2.0, "millionMACs": 50.0}, {"latency_ms": 1.9, "millionMACs": 80.0}, alone=False
    )
    assert both.subject == "millionMACs"
    assert "80" in str(both) and "latency_ms 1.9" in str(both) and "not all at once" in str(both)


def test_lazy_figures_are_computed_once_and_only_when_read() -> None:
    computed: list[str] = []

    def figure(name: str) -> np.ndarray:
        computed.append(name)
        return np.array([1.0, 2.0])

    figures = LazyFigures({name: lambda name=name: figure(name) for name in ("a", "b")})
    assert list(figures) == ["a", "b"] and len(figures) == 2 and "b" in figures and not computed
    assert figures["b"] is figures["b"] and computed == ["b"]
    with pytest.raises(KeyError):
        figures["c"]


@pytest.mark.parametrize("figure", FIGURES.values(), ids=lambda figure: figure.name)
def test_the_error_has_the_words_and_the_unit_of_its_figure(figure: Figure) -> None:
    error = infeasible({figure.name: 2.0}, {figure.name: 3.0}, alone=True)
    assert f"no architecture found within 2: {figure.least} 3 {figure.unit}; allow at least 3" in str(error)
    assert error.nearest == 3.0


def test_a_further_devices_latency_is_worded_as_a_latency() -> None:
    error = infeasible({"latency_ms@phone": 2.0}, {"latency_ms@phone": 3.0}, alone=True)
    assert error.subject == "latency_ms@phone" and "the fastest architecture found takes 3 ms" in str(error)


def test_the_hint_is_rounded_up() -> None:
    assert allow_at_least(1.23401) == "allow at least 1.235"
