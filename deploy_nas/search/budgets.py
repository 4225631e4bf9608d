"""Budgets: names and upper bounds, checked once, and how far an architecture is from meeting them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Real
from typing import Any

import numpy as np

from deploy_nas.core.errors import BudgetError, InfeasibleBudgetError, OptionError
from deploy_nas.core.space import FloatArray

Budgets = dict[str, float]


class Figures(Mapping[str, FloatArray]):
    """Figures by name, float64 ``[n]`` each, worked out when first asked for: budgets need few of them.

    Args:
        ways: name to what works it out.
    """

    def __init__(self, ways: Mapping[str, Callable[[], FloatArray]]) -> None:
        self._ways, self._known = dict(ways), dict[str, FloatArray]()

    def __getitem__(self, name: str) -> FloatArray:
        if name not in self._known:
            self._known[name] = self._ways[name]()
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ways)

    def __len__(self) -> int:
        return len(self._ways)


# what the least of a figure is called, for people
_LEAST = {
    "latency_ms": ("the fastest architecture found takes", "ms"),
    "millionMACs": ("the smallest architecture found has", "million MACs"),
    "params_million": ("the smallest architecture found has", "million parameters"),
    "KBPeakMemory": ("the leanest architecture found has a peak memory of", "KB"),
    "model_mb": ("the smallest architecture found has a file of", "MB"),
}


def parse_budgets(constraint: object, names: Iterable[str]) -> Budgets:
    """Checked upper bounds by name.

    A bare number is OFA's way: it bounds ``latency_ms`` where that is among ``names``, else
    ``millionMACs``. An empty mapping bounds nothing.

    Raises:
        BudgetError: a bound that is no positive finite number, or a constraint that is neither a
            mapping nor a number; names the key.
        OptionError: a key that is not among ``names``.
    """
    known = list(names)
    if not isinstance(constraint, Mapping):
        scalar = "latency_ms" if "latency_ms" in known else "millionMACs"
        constraint = {scalar: constraint}
    return {_name(key, known): _bound(str(key), value) for key, value in constraint.items()}


def _name(key: object, known: list[str]) -> str:
    if key not in known:
        raise OptionError("is no figure to bound", subject=str(key), hint=f"there are {', '.join(known)}")
    return str(key)


def _bound(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise BudgetError(f"the budget must be a number, is {value!r}", subject=key)
    bound = float(value)
    if not math.isfinite(bound) or bound <= 0:
        raise BudgetError(f"the budget must be a positive number, is {bound:g}", subject=key)
    return bound


def excess(figures: Mapping[str, FloatArray], budgets: Budgets) -> FloatArray:
    """Largest ratio of figure to budget, float64 ``[n]``: at most 1 where all budgets are met.

    ``figures`` holds float64 ``[n]`` arrays. A NaN figure counts as infinitely far off.
    """
    ratios = [figures[name] / bound for name, bound in budgets.items()]
    if not ratios:
        return np.zeros(len(next(iter(figures.values()))))
    worst: FloatArray = ratios[0] if len(ratios) == 1 else np.maximum.reduce(ratios)
    return np.where(np.isnan(worst), np.inf, worst)


def meets(efficiency: Mapping[str, float], budgets: Budgets) -> bool:
    """Whether one architecture's figures keep every budget; NaN does not."""
    return all(efficiency[name] <= bound for name, bound in budgets.items())


def infeasible(budgets: Budgets, nearest: Mapping[str, float], *, alone: bool) -> InfeasibleBudgetError:
    """The error that says which budget binds and what was found nearest to it.

    Args:
        budgets: all of them.
        nearest: figures of the nearest architecture.
        alone: the binding budget cannot be met even by itself, and ``nearest`` holds its least value.
    """
    binding = max(budgets, key=lambda name: nearest[name] / budgets[name])
    value, bound = nearest[binding], budgets[binding]
    figure = binding.partition("@")[0]  # latency_ms@DEVICE is a latency
    lead, unit = _LEAST.get(figure, (f"the lowest {binding} found is", ""))
    if alone:
        found = f"{lead} {value:.4g} {unit}".rstrip()
    else:
        others = [f"{name} {nearest[name]:.4g}" for name in budgets if name != binding]
        found = f"the nearest found has {binding} {value:.4g} with {', '.join(others)}"
        found += "; each budget can be met by itself, not all at once"
    return InfeasibleBudgetError(
        f"no architecture found within {bound:g}: {found}",
        subject=binding,
        hint=allow_at_least(value),
        nearest=value,
    )


def allow_at_least(value: float) -> str:
    """The hint, rounded up so that it is true."""
    return f"allow at least {math.ceil(value * 1000) / 1000:g}"
