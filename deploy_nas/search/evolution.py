"""Evolution over whole generations: the seed's search (regularised by elitism, OFA's ``EvolutionFinder``),
vectorised, without duplicates, and finished by local refinement."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from deploy_nas.core.errors import OptionError
from deploy_nas.core.space import Architecture, FloatArray, IntArray, Space
from deploy_nas.search.operators import Variation
from deploy_nas.search.pool import Pool
from deploy_nas.search.problem import BLOCK, Accuracy, Efficiency, Problem
from deploy_nas.search.refine import refine as refine_pool

Progress = Callable[[int, int, float], None]

_MAX_ROUNDS = 6
# By experiment with OFA's published predictor and Note10 table, 50,000 evaluations, 5 seeds, at 20, 25 and
# 30 ms: the worst seed trails the best by 0.11, 0.22 and 0.12 points without restarts, by 0.08, 0.09 and
# 0.04 with them and the joint last leg.
_STALL = 15
_LAST_LEG = 0.8


@dataclass(frozen=True, kw_only=True, slots=True)
class HyperParameters:
    """The seed's six, by its names.

    Args:
        arch_mutate_prob: of a redraw, a block's choices or a depth.
        resolution_mutate_prob: of a redraw of the image size.
        population_size: children a generation.
        max_time_budget: generations.
        parent_ratio: share of the population that breeds and survives.
        mutation_ratio: share of the children that are mutants; the rest are crossovers.

    Raises:
        OptionError: out of range; names the hyper-parameter.
    """

    arch_mutate_prob: float = 0.1
    resolution_mutate_prob: float = 0.5
    population_size: int = 100
    max_time_budget: int = 500
    parent_ratio: float = 0.25
    mutation_ratio: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            value, whole = getattr(self, field.name), isinstance(field.default, int)
            if isinstance(value, bool) or not isinstance(
                value, (int, np.integer) if whole else (int, float, np.number)
            ):
                raise OptionError(
                    f"must be a {'whole ' if whole else ''}number, is {value!r}", subject=field.name
                )
            if not whole and not 0 <= value <= 1:
                raise OptionError(f"must be from 0 to 1, is {value!r}", subject=field.name)
        if self.population_size < 2:
            raise OptionError(f"must be at least 2, is {self.population_size}", subject="population_size")
        if self.max_time_budget < 0:
            raise OptionError(f"must be at least 0, is {self.max_time_budget}", subject="max_time_budget")

    def updated(self, changes: Mapping[str, Any]) -> HyperParameters:
        """A copy with ``changes``; raises :class:`OptionError` for a name that is none of the six."""
        known = asdict(self)
        for name in changes:
            if name not in known:
                raise OptionError(
                    "is no hyper-parameter", subject=str(name), hint=f"there are {', '.join(known)}"
                )
        return HyperParameters(**{**known, **changes})

    @property
    def parents(self) -> int:
        """Rows that survive a generation."""
        return max(1, round(self.parent_ratio * self.population_size))

    @property
    def mutants(self) -> int:
        """Children a generation that are mutants."""
        return round(self.mutation_ratio * self.population_size)


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult:
    """What a search found.

    Args:
        space: searched.
        architecture: the best, as a dict in OFA's keys.
        encoded: the best, int64 ``[1 + genes]``.
        accuracy: predicted of the best.
        efficiency: figures of the best.
        budgets: asked for.
        history: best accuracy after the first draw and each generation; refinement counts with the last.
        evaluations: accuracies predicted.
        candidates: distinct rows of the last population, best first, int64 ``[m, 1 + genes]``.
        candidate_accuracy: float64 ``[m]``.
        interrupted: stopped by the user before its end.
    """

    space: Space
    architecture: Architecture
    encoded: IntArray
    accuracy: float
    efficiency: dict[str, float]
    budgets: dict[str, float]
    history: tuple[float, ...]
    evaluations: int
    candidates: IntArray
    candidate_accuracy: FloatArray
    interrupted: bool = False


def evolve(
    space: Space,
    efficiency: Efficiency,
    accuracy: Accuracy,
    constraint: Mapping[str, float],
    *,
    hyper: HyperParameters | None = None,
    rng: np.random.Generator,
    image_sizes: Sequence[int] | None = None,
    progress: Progress | None = None,
    refine: bool = True,
) -> SearchResult:
    """Search for the highest accuracy within the budgets.

    Each generation, the best ``parents`` survive and breed ``population_size`` children by mutation and
    uniform crossover. Children that miss a budget or are there already are drawn again, all at once and a
    bounded number of times; what is still missing then stays with the parents. Ties go by a fixed order.

    A population that has not improved for 15 generations sits in a local optimum (as a rule: of one image
    size); its parents are put by and a new one is drawn. For the last fifth they join the population again.

    Args:
        space: searched.
        efficiency: encoded ``[n, 1 + genes]`` to figures, name to float64 ``[n]``.
        accuracy: encoded ``[n, 1 + genes]`` to predicted accuracy ``[n]``, higher is better.
        constraint: upper bounds on figures, by name.
        hyper: the seed's hyper-parameters.
        rng: source of all randomness.
        image_sizes: sides to search; ``None``: all of the space.
        progress: called as ``(generation, generations, best accuracy)`` after each generation.
        refine: finish with local refinement (see ``deploy_nas.search.refine``).

    Raises:
        BudgetError, OptionError: see :func:`deploy_nas.search.budgets.parse_budgets`.
        InfeasibleBudgetError: nothing meets the budgets; names the one that binds and the nearest found.

    Interrupted by the keyboard once a first population stands, it returns the best so far.
    """
    hyper = hyper or HyperParameters()
    problem = Problem(Variation(space, image_sizes), efficiency, accuracy, constraint)
    pool = Pool.of(problem, problem.begin(rng, hyper.population_size))
    elites = pool.best(1)
    history = [pool.best_accuracy]
    interrupted = True
    with contextlib.suppress(KeyboardInterrupt):
        breeder = _Breeder(problem, hyper, rng)
        total, stalled, peak = hyper.max_time_budget, 0, pool.best_accuracy
        last_leg = int(_LAST_LEG * total)
        for generation in range(total):
            if generation == last_leg:
                pool = pool.merged(elites)
            elif stalled >= _STALL and generation < last_leg:
                elites = elites.merged(pool.best(hyper.parents))
                pool = Pool.of(problem, problem.begin(rng, hyper.population_size))
                stalled, peak = 0, pool.best_accuracy
            parents = pool.best(hyper.parents)
            pool = parents.merged(Pool.of(problem, breeder.children(parents)))
            stalled = 0 if pool.best_accuracy > peak else stalled + 1
            peak = pool.best_accuracy
            history.append(max(history[-1], peak))
            if progress is not None:
                progress(generation + 1, total, history[-1])
        if refine:
            pool = refine_pool(problem, pool.merged(elites))
        interrupted = False
    pool = pool.merged(elites).best(hyper.population_size)
    history[-1] = pool.best_accuracy
    best = pool.rows[:1]
    return SearchResult(
        space=space,
        architecture=space.decode(best)[0],
        encoded=best[0],
        accuracy=pool.best_accuracy,
        efficiency={name: float(v[0]) for name, v in problem.figures(best).items()},
        budgets=problem.budgets,
        history=tuple(history),
        evaluations=problem.evaluations,
        candidates=pool.rows,
        candidate_accuracy=pool.accuracy,
        interrupted=interrupted,
    )


class _Breeder:
    """Children of a generation; remembers how many draws come to nothing, to draw enough at once."""

    def __init__(self, problem: Problem, hyper: HyperParameters, rng: np.random.Generator) -> None:
        self.problem, self.hyper, self.rng = problem, hyper, rng
        self._rate = 0.5

    def children(self, parents: Pool) -> IntArray:
        """Distinct canonical children within the budgets, none of ``parents``; at most a population."""
        vary, taken = self.problem.vary, np.sort(parents.keys)
        missing = np.array([self.hyper.mutants, self.hyper.population_size - self.hyper.mutants])
        kept: list[IntArray] = []
        for _ in range(_MAX_ROUNDS * (1 + self.hyper.population_size // BLOCK)):
            wanted = np.minimum(np.ceil(missing / max(self._rate, 0.2)) + 4, BLOCK).astype(np.int64)
            draws = np.where(missing > 0, wanted, 0)
            rows, kind = self._draw(parents.rows, draws)
            keys = vary.keys(rows)
            new = vary.first_new(keys, taken)
            new = new[self.problem.excess(rows[new]) <= 1]
            self._rate = 0.8 * self._rate + 0.2 * len(new) / len(rows)
            good = np.concatenate([new[kind[new] == k][: missing[k]] for k in (0, 1)])
            kept.append(rows[good])
            taken = np.sort(np.concatenate([taken, keys[good]]), kind="stable")
            missing = missing - np.bincount(kind[good], minlength=2)
            if not missing.any():
                break
        return np.concatenate(kept)

    def _draw(self, parents: IntArray, draws: IntArray) -> tuple[IntArray, IntArray]:
        """``draws[0]`` mutants then ``draws[1]`` crossovers, canonical, and which is which."""
        vary, rng, hyper = self.problem.vary, self.rng, self.hyper
        mutants, crossed = (int(n) for n in draws)
        picks = rng.integers(0, len(parents), size=mutants + 2 * crossed)
        chosen = parents[picks]
        rows = np.concatenate(
            [
                vary.mutate(chosen[:mutants], rng, hyper.arch_mutate_prob, hyper.resolution_mutate_prob),
                vary.crossover(chosen[mutants : mutants + crossed], chosen[mutants + crossed :], rng),
            ]
        )
        return vary.space.canonical(rows), np.repeat(np.array([0, 1]), [mutants, crossed])
