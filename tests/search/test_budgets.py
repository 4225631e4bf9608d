from __future__ import annotations

import math

import numpy as np
import pytest

from deploy_nas.core.errors import BudgetError, OptionError
from deploy_nas.search.budgets import excess, infeasible, meets, parse_budgets

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
