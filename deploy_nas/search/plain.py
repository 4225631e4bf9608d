"""The search for predictors of others: architecture by architecture, through the seed's interface alone.

The algorithm is OFA's ``EvolutionFinder``; unlike it, every loop is bounded and an impossible constraint
is an error.
"""

from __future__ import annotations

import contextlib
import copy
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy_nas.core.errors import InfeasibleBudgetError, MismatchError
from deploy_nas.core.space import Architecture
from deploy_nas.search.evolution import HyperParameters, Progress

_Sample = tuple[Architecture, Any]
_Scored = tuple[float, Architecture, Any]

_RANDOM_TRIES = 500
_DOWNHILL_TRIES = 500
_CHILD_TRIES = 200


@contextlib.contextmanager
def seeded_globals(rng: np.random.Generator, encoder: Any, *, active: bool) -> Iterator[None]:
    """Seed the global generators of ``random`` and numpy, and the encoder's, from ``rng``; afterwards put
    them back."""
    if not active:
        yield
        return
    kept, kept_numpy, own = random.getstate(), np.random.get_state(), getattr(encoder, "rng", None)
    random.seed(int(rng.integers(2**32)))
    np.random.seed(int(rng.integers(2**32)))
    if isinstance(own, np.random.Generator):
        encoder.rng = rng
    try:
        yield
    finally:
        random.setstate(kept)
        np.random.set_state(kept_numpy)
        if isinstance(own, np.random.Generator):
            encoder.rng = own


@dataclass(frozen=True, kw_only=True)
class PlainSearch:
    """Evolution with predictors of the seed's interface."""

    efficiency: Any
    accuracy: Any
    hyper: HyperParameters
    rng: np.random.Generator

    def random_valid_sample(self, constraint: Any) -> _Sample:
        """Random draws; then, from the nearest of them, mutants that come nearer.

        Raises:
            InfeasibleBudgetError: nothing found in a bounded number of tries.
        """
        encoder = self.accuracy.arch_encoder
        nearest, least = None, math.inf
        for _ in range(_RANDOM_TRIES):
            sample = encoder.random_sample_arch()
            efficiency = self.efficiency.get_efficiency(sample)
            if self._meets(efficiency, constraint):
                return sample, efficiency
            if nearest is None or _excess(efficiency, constraint) < least:
                nearest, least = (sample, efficiency), _excess(efficiency, constraint)
        assert nearest is not None  # noqa: S101 - _RANDOM_TRIES is positive
        since = 0
        while since < _DOWNHILL_TRIES:
            sample = self._mutant(nearest[0])
            efficiency = self.efficiency.get_efficiency(sample)
            if self._meets(efficiency, constraint):
                return sample, efficiency
            since += 1
            if _excess(efficiency, constraint) < least:
                nearest, least, since = (sample, efficiency), _excess(efficiency, constraint), 0
        raise _infeasible(nearest[1], constraint)

    def mutate_sample(self, sample: Architecture, constraint: Any) -> _Sample:
        """A mutant that meets it; raises :class:`InfeasibleBudgetError` after bounded tries."""
        return self._child(lambda: self._mutant(sample), constraint)

    def crossover_sample(self, sample1: Architecture, sample2: Architecture, constraint: Any) -> _Sample:
        """A child of both that meets it; raises :class:`InfeasibleBudgetError` after bounded tries."""
        return self._child(lambda: self._crossed(sample1, sample2), constraint)

    def run(self, constraint: Any, progress: Progress | None = None) -> tuple[list[float], _Scored]:
        """Best accuracy by generation, and ``(accuracy, architecture, efficiency)`` of the best.

        Interrupted by the keyboard after the first population, it returns the best so far.
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

    def _bred(self, parents: list[_Scored], mutant: bool, constraint: Any) -> _Sample:
        first, second = (parents[int(i)] for i in self.rng.integers(0, len(parents), size=2))
        try:
            if mutant:
                return self.mutate_sample(first[1], constraint)
            return self.crossover_sample(first[1], second[1], constraint)
        except InfeasibleBudgetError:
            return first[1], first[2]

    def _scored(self, samples: list[_Sample]) -> list[_Scored]:
        predicted = self.accuracy.predict_acc([sample for sample, _ in samples])
        values = [float(p.item() if hasattr(p, "item") else p) for p in predicted]
        if len(values) != len(samples):
            raise MismatchError(
                f"gave {len(values)} values for {len(samples)} architectures", subject="accuracy predictor"
            )
        scored = [(v, sample, efficiency) for v, (sample, efficiency) in zip(values, samples, strict=True)]
        return sorted(scored, key=lambda one: -one[0])

    def _mutant(self, sample: Architecture) -> Architecture:
        encoder, child = self.accuracy.arch_encoder, copy.deepcopy(sample)
        encoder.mutate_resolution(child, self.hyper.resolution_mutate_prob)
        if hasattr(encoder, "mutate_width"):  # lab 3 has it, OFA's encoders do not
            encoder.mutate_width(child, self.hyper.arch_mutate_prob)
        encoder.mutate_arch(child, self.hyper.arch_mutate_prob)
        return child

    def _crossed(self, a: Architecture, b: Architecture) -> Architecture:
        def either(x: Any, y: Any) -> Any:
            return y if self.rng.random() < 0.5 else x

        return {
            key: [either(x, y) for x, y in zip(value, b[key], strict=True)]
            if isinstance(value, list)
            else either(value, b[key])
            for key, value in a.items()
        }

    def _child(self, draw: Callable[[], Architecture], constraint: Any) -> _Sample:
        nearest, least = None, math.inf
        for _ in range(_CHILD_TRIES):
            child = draw()
            efficiency = self.efficiency.get_efficiency(child)
            if self._meets(efficiency, constraint):
                return child, efficiency
            if nearest is None or _excess(efficiency, constraint) < least:
                nearest, least = efficiency, _excess(efficiency, constraint)
        raise _infeasible(nearest, constraint)

    def _meets(self, efficiency: Any, constraint: Any) -> bool:
        if hasattr(self.efficiency, "satisfy_constraint"):
            return bool(self.efficiency.satisfy_constraint(efficiency, constraint))
        return bool(efficiency <= constraint)


def _ratios(efficiency: Any, constraint: Any) -> dict[str, float]:
    """Figure over bound, where both are numbers or mappings of numbers; else nothing is known."""
    try:
        if isinstance(constraint, Mapping) and isinstance(efficiency, Mapping):
            return {
                str(k): _ratio(efficiency[k], bound) for k, bound in constraint.items() if k in efficiency
            }
        return {"constraint": _ratio(efficiency, constraint)}
    except (TypeError, ValueError):
        return {}


def _ratio(value: Any, bound: Any) -> float:
    return float(value) / float(bound) if float(bound) else math.inf


def _excess(efficiency: Any, constraint: Any) -> float:
    return max(_ratios(efficiency, constraint).values(), default=math.inf)


def _infeasible(nearest: Any, constraint: Any) -> InfeasibleBudgetError:
    ratios = _ratios(nearest, constraint)
    binding = max(ratios, key=lambda name: ratios[name], default="constraint")
    bound = constraint[binding] if isinstance(constraint, Mapping) and binding in constraint else constraint
    value = nearest[binding] if isinstance(nearest, Mapping) and binding in nearest else nearest
    return InfeasibleBudgetError(
        f"no architecture found within {_short(bound)}: the nearest found has {_short(value)}",
        subject=binding,
        hint="allow more",
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
