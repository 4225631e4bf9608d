"""Evolution over whole generations: OFA's ``EvolutionFinder`` (elitist), vectorised and without duplicates.

Local refinement finishes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from deploy_nas.core.errors import OptionError
from deploy_nas.core.shown import Shown
from deploy_nas.core.space import Architecture, FloatArray, IntArray, Space
from deploy_nas.search.operators import Variation
from deploy_nas.search.pool import Pool
from deploy_nas.search.problem import BLOCK, Accuracy, Efficiency, Problem
from deploy_nas.search.refine import refine as refine_pool

Progress = Callable[[int, int, float], None]

_MAX_ROUNDS = 6
# Restarts were chosen by experiment with OFA's published predictor and Note10 table (50,000 evaluations, 5
# seeds). At 20, 25 and 30 ms the worst seed trails the best by 0.11, 0.22 and 0.12 points without restarts,
# and by 0.08, 0.09 and 0.04 points with restarts and a final phase on the joint population.
_STALL = 15
_FINAL_PHASE = 0.8


@dataclass(frozen=True, kw_only=True, slots=True)
class HyperParameters:
    """The six hyper-parameters of OFA's ``EvolutionFinder``, under its names.

    Args:
        arch_mutate_prob: probability of redrawing each block's choices and each depth.
        resolution_mutate_prob: probability of redrawing the image size.
        population_size: children per generation.
        max_time_budget: number of generations.
        parent_ratio: share of the population that survives and breeds.
        mutation_ratio: share of the children made by mutation; the others are crossovers.

    Raises:
        OptionError: a value out of range; names the hyper-parameter.
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

    def updated(self, changes: Mapping[str, object]) -> HyperParameters:
        """A copy with ``changes``; raises :class:`OptionError` for an unknown name or invalid value."""
        known = asdict(self)
        for name in changes:
            if name not in known:
                raise OptionError(
                    "unknown hyper-parameter", subject=str(name), hint=f"known are {', '.join(known)}"
                )
        return replace(self, **changes)  # type: ignore[arg-type]  # __post_init__ checks the values

    @property
    def parents(self) -> int:
        """Number of rows that survive a generation."""
        return max(1, round(self.parent_ratio * self.population_size))

    @property
    def mutants(self) -> int:
        """Number of mutants per generation."""
        return round(self.mutation_ratio * self.population_size)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SearchResult(Shown):
    """The outcome of a search.

    Args:
        space: the search space.
        architecture: the best, as a dict in OFA's keys.
        encoded: the best, int64 ``[1 + genes]``.
        accuracy: predicted accuracy of the best.
        efficiency: figures of the best by name.
        budgets: upper bounds by name.
        history: best accuracy after the first draw and after each generation; the last includes refinement.
        evaluations: number of accuracies predicted.
        candidates: distinct rows of the last population, best first, int64 ``[m, 1 + genes]``.
        candidate_accuracy: their predicted accuracies, float64 ``[m]``.
        interrupted: whether the user stopped the search early.
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

    def _summary(self) -> str:
        return f"{self.space.id}, accuracy {self.accuracy:.4g}, of {self.evaluations} evaluated"


def evolve(
    space: Space,
    efficiency: Efficiency,
    accuracy: Accuracy,
    constraint: object,
    *,
    hyper: HyperParameters | None = None,
    rng: np.random.Generator,
    image_sizes: Sequence[int] | None = None,
    progress: Progress | None = None,
    refine: bool = True,
) -> SearchResult:
    """Search for the highest accuracy within the budgets.

    In each generation the best ``parents`` survive and breed ``population_size`` children by mutation and
    uniform crossover. Children that exceed a budget or are duplicates are redrawn, all at once and a bounded
    number of times; a generation may end up smaller. Ties are broken by a fixed order.

    A population that has not improved for 15 generations is in a local optimum, usually that of one image
    size: its parents are set aside and a new population is drawn. They rejoin it for the last fifth of the
    generations.

    Args:
        space: the search space.
        efficiency: encoded ``[n, 1 + genes]`` to figures, name to float64 ``[n]``.
        accuracy: encoded ``[n, 1 + genes]`` to predicted accuracy ``[n]``, higher is better.
        constraint: upper bounds on figures by name, or one number; see
            :func:`deploy_nas.search.budgets.parse_budgets`.
        hyper: hyper-parameters; ``None``: the defaults.
        rng: source of all randomness.
        image_sizes: image sizes to search; ``None``: all of the space.
        progress: called as ``(generation, generations, best accuracy)`` after each generation.
        refine: finish with local refinement (:mod:`deploy_nas.search.refine`).

    Raises:
        BudgetError, OptionError: see :func:`deploy_nas.search.budgets.parse_budgets`.
        InfeasibleBudgetError: nothing meets the budgets; names the binding one and the nearest value found.

    A keyboard interrupt after the first population has been drawn ends the search with the best so far.
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
        final_phase = int(_FINAL_PHASE * total)
        for generation in range(total):
            if generation == final_phase:
                pool = pool.merged(elites)
            elif stalled >= _STALL and generation < final_phase:
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
    """Breeds children; tracks the share of draws that are kept, to draw enough at once."""

    def __init__(self, problem: Problem, hyper: HyperParameters, rng: np.random.Generator) -> None:
        self.problem, self.hyper, self.rng = problem, hyper, rng
        self._kept_share = 0.5

    def children(self, parents: Pool) -> IntArray:
        """Distinct canonical rows within the budgets that are not in ``parents``; at most one population."""
        vary, taken = self.problem.vary, np.sort(parents.keys)
        missing = np.array([self.hyper.mutants, self.hyper.population_size - self.hyper.mutants])
        kept: list[IntArray] = []
        for _ in range(_MAX_ROUNDS * (1 + self.hyper.population_size // BLOCK)):
            wanted = np.minimum(np.ceil(missing / max(self._kept_share, 0.2)) + 4, BLOCK).astype(np.int64)
            draws = np.where(missing > 0, wanted, 0)
            rows, kind = self._draw(parents.rows, draws)
            keys = vary.keys(rows)
            new = vary.first_new(keys, taken)
            new = new[self.problem.excess(rows[new]) <= 1]
            self._kept_share = 0.8 * self._kept_share + 0.2 * len(new) / len(rows)
            accepted = np.concatenate([new[kind[new] == k][: missing[k]] for k in (0, 1)])
            kept.append(rows[accepted])
            taken = np.sort(np.concatenate([taken, keys[accepted]]), kind="stable")
            missing = missing - np.bincount(kind[accepted], minlength=2)
            if not missing.any():
                break
        return np.concatenate(kept)

    def _draw(self, parents: IntArray, draws: IntArray) -> tuple[IntArray, IntArray]:
        """``draws[0]`` mutants, then ``draws[1]`` crossovers, canonical; and the kind of each, 0 or 1."""
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
