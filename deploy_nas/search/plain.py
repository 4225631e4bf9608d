"""Search with the predictors of others: one architecture at a time, through lab 3's and OFA's interface.

The algorithm is OFA's ``EvolutionFinder``, except that every loop is bounded and an impossible constraint
raises an error.
"""

from __future__ import annotations

import contextlib
import copy
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, SupportsFloat, TypeVar, cast

import numpy as np

from deploy_nas.core.errors import InfeasibleBudgetError, MismatchError
from deploy_nas.core.space import Architecture
from deploy_nas.search.evolution import HyperParameters, Progress
from deploy_nas.search.interfaces import (
    AccuracyPredictorLike,
    Cost,
    EfficiencyPredictor,
    Ordered,
    checks_constraints,
    mutates_widths,
    owns_generator,
    predicting,
    pricing,
)

_Value = TypeVar("_Value")

_RANDOM_TRIES = 500
_DESCENT_TRIES = 500
_CHILD_TRIES = 200


@contextlib.contextmanager
def seeded_globals(rng: np.random.Generator, encoder: object, *, active: bool) -> Iterator[None]:
    """Seed the global generators of ``random`` and numpy, and the encoder's own, from ``rng``.

    All are restored on exit. Does nothing unless ``active``.
    """
    if not active:
        yield
        return
    state, numpy_state = random.getstate(), np.random.get_state()
    own = encoder.rng if owns_generator(encoder) else None
    random.seed(int(rng.integers(2**32)))
    np.random.seed(int(rng.integers(2**32)))
    if owns_generator(encoder):
        encoder.rng = rng
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
        if own is not None and owns_generator(encoder):
            encoder.rng = own


@dataclass(frozen=True, kw_only=True)
class PlainSearch(Generic[Cost]):
    """Evolution with any efficiency and accuracy predictor of lab 3's or OFA's interface.

    Args:
        efficiency: prices architectures.
        accuracy: predicts accuracies; its encoder draws and mutates.
        hyper: hyper-parameters.
        rng: source of all randomness but the encoder's.
    """

    efficiency: EfficiencyPredictor[Cost]
    accuracy: AccuracyPredictorLike
    hyper: HyperParameters
    rng: np.random.Generator

    def random_valid_sample(self, constraint: object) -> tuple[Architecture, Cost]:
        """A random architecture that meets the constraint, and its efficiency.

        Draws at random; where no draw meets the constraint, descends by mutation from the nearest one.

        Raises:
            InfeasibleBudgetError: nothing found in a bounded number of tries.
        """
        encoder = self.accuracy.arch_encoder
        nearest: tuple[Architecture, Cost] | None = None
        least = math.inf
        for _ in range(_RANDOM_TRIES):
            sample = encoder.random_sample_arch()
            efficiency = pricing(self.efficiency)(sample)
            if self._meets(efficiency, constraint):
                return sample, efficiency
            if nearest is None or _excess(efficiency, constraint) < least:
                nearest, least = (sample, efficiency), _excess(efficiency, constraint)
        assert nearest is not None  # noqa: S101 - _RANDOM_TRIES is positive
        since = 0
        while since < _DESCENT_TRIES:
            sample = self._mutant(nearest[0])
            efficiency = pricing(self.efficiency)(sample)
            if self._meets(efficiency, constraint):
                return sample, efficiency
            since += 1
            if _excess(efficiency, constraint) < least:
                nearest, least, since = (sample, efficiency), _excess(efficiency, constraint), 0
        raise _infeasible(nearest[1], constraint)

    def mutate_sample(self, sample: Architecture, constraint: object) -> tuple[Architecture, Cost]:
        """A mutant that meets the constraint, and its efficiency.

        Raises:
            InfeasibleBudgetError: nothing found in a bounded number of tries.
        """
        return self._child(lambda: self._mutant(sample), constraint)

    def crossover_sample(
        self, sample1: Architecture, sample2: Architecture, constraint: object
    ) -> tuple[Architecture, Cost]:
        """A child of both that meets the constraint, and its efficiency.

        Raises:
            InfeasibleBudgetError: nothing found in a bounded number of tries.
        """
        return self._child(lambda: self._crossed(sample1, sample2), constraint)

    def run(
        self, constraint: object, progress: Progress | None = None
    ) -> tuple[list[float], tuple[float, Architecture, Cost]]:
        """Best accuracy by generation, and ``(accuracy, architecture, efficiency)`` of the best.

        A keyboard interrupt after the first population has been drawn ends the search with the best so far.
        """
        hyper = self.hyper
        population = self._scored(
            [self.random_valid_sample(constraint) for _ in range(hyper.population_size)]
        )
        history = [population[0][0]]
        with contextlib.suppress(KeyboardInterrupt):
            for generation in range(hyper.max_time_budget):
                parents = population[: hyper.parents]
                children = [
                    self._bred(parents, number < hyper.mutants, constraint)
                    for number in range(hyper.population_size)
                ]
                population = sorted([*parents, *self._scored(children)], key=lambda one: -one[0])
                history.append(population[0][0])
                if progress is not None:
                    progress(generation + 1, hyper.max_time_budget, history[-1])
        return history, population[0]

    def _bred(
        self, parents: list[tuple[float, Architecture, Cost]], mutant: bool, constraint: object
    ) -> tuple[Architecture, Cost]:
        """A child of random parents; the first parent itself where no child meets the constraint."""
        first, second = (parents[int(i)] for i in self.rng.integers(0, len(parents), size=2))
        try:
            if mutant:
                return self.mutate_sample(first[1], constraint)
            return self.crossover_sample(first[1], second[1], constraint)
        except InfeasibleBudgetError:
            return first[1], first[2]

    def _scored(self, samples: list[tuple[Architecture, Cost]]) -> list[tuple[float, Architecture, Cost]]:
        """Samples with their predicted accuracy, best first."""
        predicted = predicting(self.accuracy)([sample for sample, _ in samples])
        values = [_number(p.item() if hasattr(p, "item") else p) for p in predicted]
        if len(values) != len(samples):
            raise MismatchError(
                f"returned {len(values)} values for {len(samples)} architectures",
                subject="accuracy predictor",
            )
        scored = [(v, sample, efficiency) for v, (sample, efficiency) in zip(values, samples, strict=True)]
        return sorted(scored, key=lambda one: -one[0])

    def _mutant(self, sample: Architecture) -> Architecture:
        encoder, child = self.accuracy.arch_encoder, copy.deepcopy(sample)
        encoder.mutate_resolution(child, self.hyper.resolution_mutate_prob)
        if mutates_widths(encoder):
            encoder.mutate_width(child, self.hyper.arch_mutate_prob)
        encoder.mutate_arch(child, self.hyper.arch_mutate_prob)
        return child

    def _crossed(self, a: Architecture, b: Architecture) -> Architecture:
        """Each value from either, equally likely."""

        def either(x: _Value, y: _Value) -> _Value:
            return y if self.rng.random() < 0.5 else x

        child: Architecture = {}
        for key, value in a.items():
            other = b[key]
            if isinstance(value, list) and isinstance(other, list):
                child[key] = [either(x, y) for x, y in zip(value, other, strict=True)]
            else:
                child[key] = either(value, other)
        return child

    def _child(self, draw: Callable[[], Architecture], constraint: object) -> tuple[Architecture, Cost]:
        """The first draw that meets the constraint, among a bounded number."""
        nearest: Cost | None = None
        least = math.inf
        for _ in range(_CHILD_TRIES):
            child = draw()
            efficiency = pricing(self.efficiency)(child)
            if self._meets(efficiency, constraint):
                return child, efficiency
            if nearest is None or _excess(efficiency, constraint) < least:
                nearest, least = efficiency, _excess(efficiency, constraint)
        raise _infeasible(nearest, constraint)

    def _meets(self, efficiency: Cost, constraint: object) -> bool:
        if checks_constraints(self.efficiency):
            return bool(self.efficiency.satisfy_constraint(efficiency, constraint))
        return bool(cast("Ordered", efficiency) <= constraint)


def _number(value: object) -> float:
    """``value`` as a float; raises ``TypeError`` for anything but a number or a scalar array."""
    if not isinstance(value, SupportsFloat):
        raise TypeError(f"not a number: {value!r}")
    return float(value)


def _ratios(efficiency: object, constraint: object) -> dict[str, float]:
    """Figure over bound by name, for numbers and mappings of numbers; empty for anything else."""
    try:
        if isinstance(constraint, Mapping) and isinstance(efficiency, Mapping):
            return {
                str(k): _ratio(efficiency[k], bound) for k, bound in constraint.items() if k in efficiency
            }
        return {"constraint": _ratio(efficiency, constraint)}
    except (TypeError, ValueError):
        return {}


def _ratio(value: object, bound: object) -> float:
    return _number(value) / _number(bound) if _number(bound) else math.inf


def _excess(efficiency: object, constraint: object) -> float:
    return max(_ratios(efficiency, constraint).values(), default=math.inf)


def _infeasible(nearest: object, constraint: object) -> InfeasibleBudgetError:
    ratios = _ratios(nearest, constraint)
    binding = max(ratios, key=lambda name: ratios[name], default="constraint")
    bound = constraint[binding] if isinstance(constraint, Mapping) and binding in constraint else constraint
    value = nearest[binding] if isinstance(nearest, Mapping) and binding in nearest else nearest
    return InfeasibleBudgetError(
        f"no architecture found within {_short(bound)}: the nearest found has {_short(value)}",
        subject=binding,
        hint="allow more",
    )


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
