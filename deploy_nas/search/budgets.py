"""Budgets: upper bounds on figures, checked once, and how far an architecture is from meeting them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Real

import numpy as np

from deploy_nas.core.errors import BudgetError, InfeasibleBudgetError, OptionError
from deploy_nas.core.figures import LATENCY, MACS, figure_of
from deploy_nas.core.space import FloatArray

Budgets = dict[str, float]


class LazyFigures(Mapping[str, FloatArray]):
    """Figures by name, float64 ``[n]`` each, computed on first access: budgets need few of them.

    Args:
        functions: name to the function that computes the figure.
    """

    def __init__(self, functions: Mapping[str, Callable[[], FloatArray]]) -> None:
        self._functions, self._computed = dict(functions), dict[str, FloatArray]()

    def __getitem__(self, name: str) -> FloatArray:
        if name not in self._computed:
            self._computed[name] = self._functions[name]()
        return self._computed[name]

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)


class Figures(dict[str, float]):
    """Figures of one architecture by name. ``figures <= constraint`` says whether they meet it.

    OFA's finder compares so, with a single number; see :func:`parse_budgets`.
    """

    def __le__(self, constraint: object) -> bool:
        return meets(self, parse_budgets(constraint, self))


def parse_budgets(constraint: object, names: Iterable[str]) -> Budgets:
    """Checked upper bounds by name.

    A bare number, as OFA takes it, bounds ``latency_ms`` where that is among ``names``, else
    ``millionMACs``. An empty mapping bounds nothing.

    Raises:
        BudgetError: a bound that is not a positive finite number, or a constraint that is neither a
            mapping nor a number; names the key.
        OptionError: a key that is not among ``names``.
    """
    known = list(names)
    if not isinstance(constraint, Mapping):
        constraint = {LATENCY.name if LATENCY.name in known else MACS.name: constraint}
    return {_name(key, known): _bound(str(key), value) for key, value in constraint.items()}


def _name(key: object, known: list[str]) -> str:
    if key not in known:
        raise OptionError("unknown figure", subject=str(key), hint=f"known are {', '.join(known)}")
    return str(key)


def _bound(key: str, value: object) -> float:
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
    """Whether one architecture's figures meet every budget; NaN meets none."""
    return all(efficiency[name] <= bound for name, bound in budgets.items())


def infeasible(budgets: Budgets, nearest: Mapping[str, float], *, alone: bool) -> InfeasibleBudgetError:
    """The error for budgets that nothing meets: names the binding budget and the nearest value found.

    Args:
        budgets: all of them.
        nearest: figures of the nearest architecture.
        alone: the binding budget cannot be met even by itself, and ``nearest`` holds its lowest value.
    """
    binding = max(budgets, key=lambda name: nearest[name] / budgets[name])
    value, bound = nearest[binding], budgets[binding]
    if alone:
        figure = figure_of(binding)
        found = (
            f"the lowest {binding} found is {value:.4g}"
            if figure is None
            else f"{figure.least} {value:.4g} {figure.unit}"
        )
    else:
        others = [f"{name} {nearest[name]:.4g}" for name in budgets if name != binding]
        found = f"the nearest found has {binding} {value:.4g} with {', '.join(others)}"
        found += "; each budget can be met by itself, but not all at once"
    return InfeasibleBudgetError(
        f"no architecture found within {bound:g}: {found}",
        subject=binding,
        hint=allow_at_least(value),
        nearest=value,
    )


def allow_at_least(value: float) -> str:
    """The hint for a budget below ``value``, rounded up so that following it succeeds."""
    return f"allow at least {math.ceil(value * 1000) / 1000:g}"
