"""The whole accuracy-latency front in one run: evolution in niches of cost, finished by local refinement.

It finds a larger hypervolume than pymoo's NSGA-II for the same number of evaluations, without a dependency
(``tools/benchmark_pareto``, docs/notes/search.md).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deploy_nas.core.errors import BudgetError, OptionError
from deploy_nas.core.space import Architecture, FloatArray, IntArray, Space
from deploy_nas.search.evolution import Progress
from deploy_nas.search.operators import Variation
from deploy_nas.search.pool import Pool
from deploy_nas.search.problem import Accuracy, Efficiency, Problem

# Chosen by experiment (docs/notes/search.md): more or larger niches spread the work too thin, fewer leave
# gaps.
_NICHES, _PER_NICHE = 80, 3
_ISLANDS, _ISLAND_SHARE = 2, 0.3
_EXPLORATION_SHARE = 0.6
_REFINED_AT_ONCE = 40
_ARCH_PROB, _SIZE_PROB = 0.06, 0.1
_MATING_RANGE = 0.04  # as a share of the archive
# Consecutive generations without a new child: the space is small, or the budgets leave little of it.
_MAX_BARREN = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Front:
    """Architectures that do not dominate each other in cost and accuracy, cheapest first.

    Args:
        space: the search space.
        encoded: int64 ``[n, 1 + genes]``.
        accuracy: predicted accuracies, float64 ``[n]``, strictly ascending.
        figures: name to float64 ``[n]``; ``figures[cost]`` is strictly ascending.
        cost: name of the figure traded against accuracy.
        budgets: upper bounds by name; every point meets them.
        evaluations: number of accuracies predicted.
        interrupted: whether the user stopped the search early.
    """

    space: Space
    encoded: IntArray
    accuracy: FloatArray
    figures: dict[str, FloatArray]
    cost: str
    budgets: dict[str, float]
    evaluations: int
    interrupted: bool = False

    def __len__(self) -> int:
        return len(self.accuracy)

    def architecture(self, index: int) -> Architecture:
        """The architecture at ``index`` as a dict in OFA's keys."""
        return self.space.decode(self.encoded[[index]])[0]

    def within(self, budget: float) -> int:
        """Index of the most accurate architecture whose cost is at most ``budget``.

        Raises:
            BudgetError: every one costs more; names the cheapest.
        """
        costs = self.figures[self.cost]
        count = int(np.searchsorted(costs, budget, side="right"))
        if not count:
            raise BudgetError(f"the front begins at {costs[0]:.4g}, above {budget:g}", subject=self.cost)
        return count - 1

    def knee(self) -> int:
        """Index of the knee; see :func:`knee_of`."""
        return knee_of(self.figures[self.cost], self.accuracy)


def knee_of(cost: FloatArray, accuracy: FloatArray) -> int:
    """Index of the point farthest above the straight line between a front's ends.

    Both axes are scaled to the front's range (Satopaa et al., "Finding a 'Kneedle' in a Haystack", 2011).
    """
    if len(cost) < 3:
        return len(cost) - 1
    x = (cost - cost[0]) / (cost[-1] - cost[0])
    y = (accuracy - accuracy[0]) / (accuracy[-1] - accuracy[0])
    return int(np.argmax(y - x))


def nondominated(cost: FloatArray, accuracy: FloatArray) -> IntArray:
    """Indices of the nondominated points, cheapest first; equal points count once."""
    order = np.lexsort((-accuracy, cost))
    best = np.maximum.accumulate(np.concatenate([[-np.inf], accuracy[order]]))
    return order[accuracy[order] > best[:-1]]


def hypervolume(cost: FloatArray, accuracy: FloatArray, *, worst: tuple[float, float]) -> float:
    """Area dominated by the points, within ``worst`` (the highest cost, the lowest accuracy)."""
    inside = (cost < worst[0]) & (accuracy > worst[1])
    cost, accuracy = cost[inside], accuracy[inside]
    front = nondominated(cost, accuracy)
    widths = np.diff(np.concatenate([cost[front], worst[:1]]))
    return float(((accuracy[front] - worst[1]) * widths).sum())


def pareto(
    space: Space,
    efficiency: Efficiency,
    accuracy: Accuracy,
    constraint: object = None,
    *,
    cost: str = "latency_ms",
    evaluations: int = 100_000,
    population: int = 1000,
    rng: np.random.Generator,
    image_sizes: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Front:
    """Search for the front of one cost against accuracy.

    The range of the cost is divided into niches of equal ratio. Each keeps its most accurate rows, which
    breed with others of similar cost. The remaining evaluations are spent on refinement: all single changes
    of all points of the front, until none improves it.

    Args:
        space: the search space.
        efficiency: encoded ``[n, 1 + genes]`` to figures, name to float64 ``[n]``.
        accuracy: encoded ``[n, 1 + genes]`` to predicted accuracy ``[n]``, higher is better.
        constraint: upper bounds that every point must meet, as ``evolve`` takes them; ``None``: no bounds.
        cost: the figure traded against accuracy.
        evaluations: most accuracies to predict.
        population: children per generation.
        rng: source of all randomness.
        image_sizes: image sizes to search; ``None``: all of the space.
        progress: called as ``(evaluations, all evaluations, best accuracy)``.

    Raises:
        BudgetError, OptionError: see :func:`deploy_nas.search.budgets.parse_budgets`.
        InfeasibleBudgetError: nothing meets the constraint.

    A keyboard interrupt after the first population has been drawn ends the search with the front so far.
    """
    if evaluations < 1:
        raise OptionError(f"must be at least 1, is {evaluations}", subject="evaluations")
    if population < 2:
        raise OptionError(f"must be at least 2, is {population}", subject="population")
    problem = Problem(
        Variation(space, image_sizes), efficiency, accuracy, {} if constraint is None else constraint
    )
    known = problem.figures(problem.vary.smallest()[:1])
    if cost not in known:
        raise OptionError("unknown figure", subject=cost, hint=f"known are {', '.join(known)}")
    run = _Run(problem=problem, rng=rng, evaluations=evaluations, population=population, progress=progress)
    archive = _Archive.begin(problem, rng, min(population, evaluations), cost)
    with run.until_stopped():
        for island in range(_ISLANDS):
            island_archive = archive if island == 0 else _Archive.begin(problem, rng, population, cost)
            island_archive = run.evolve(island_archive, (island + 1) * _ISLAND_SHARE / _ISLANDS)
            archive = island_archive if island == 0 else archive.joined(island_archive)
            if run.stopped:
                break
        spent = _EXPLORATION_SHARE
        while problem.evaluations < evaluations and not run.stopped:
            before = problem.evaluations
            archive = run.refine(run.evolve(archive, spent))
            spent = (spent + 1) / 2
            if problem.evaluations == before:
                break
    front = archive.front()
    rows = archive.pool.rows[front]
    return Front(
        space=space,
        encoded=rows,
        accuracy=archive.pool.accuracy[front],
        figures=problem.figures(rows),
        cost=cost,
        budgets=problem.budgets,
        evaluations=problem.evaluations,
        interrupted=run.stopped,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Archive:
    """The best rows of every niche and every point of the front; ``cost`` is float64 ``[n]``."""

    problem: Problem
    name: str
    pool: Pool
    cost: FloatArray

    @classmethod
    def begin(cls, problem: Problem, rng: np.random.Generator, count: int, name: str) -> _Archive:
        """Random rows, and each image size's smallest and largest that meet the budgets."""
        space = problem.vary.space
        ends = [space.encode([space.largest(size) for size in problem.vary.image_sizes])]
        ends.append(problem.vary.smallest())
        rows = np.concatenate([problem.begin(rng, count), problem.feasible(np.concatenate(ends))])
        rows = problem.vary.fresh(space.canonical(rows), np.empty(0, dtype=np.int64))
        return cls.of(problem, name, rows)

    @classmethod
    def of(cls, problem: Problem, name: str, rows: IntArray) -> _Archive:
        """An archive of ``rows``, their accuracy and cost computed."""
        return cls(problem=problem, name=name, pool=Pool.of(problem, rows), cost=problem.figure(name, rows))

    def take(self, index: IntArray) -> _Archive:
        """The rows at ``index``."""
        return _Archive(
            problem=self.problem, name=self.name, pool=self.pool.take(index), cost=self.cost[index]
        )

    def front(self) -> IntArray:
        """Indices of the nondominated rows."""
        return nondominated(self.cost, self.pool.accuracy)

    def merged(self, rows: IntArray) -> _Archive:
        """This archive with new rows; see :meth:`joined`."""
        return self.joined(_Archive.of(self.problem, self.name, rows)) if len(rows) else self

    def joined(self, new: _Archive) -> _Archive:
        """The best of each niche and the front of both archives, cheapest first."""
        both = self.pool.merged(new.pool)
        cost = np.concatenate([self.cost, new.cost])
        if len(both) < len(cost):
            cost = self.problem.figure(self.name, both.rows)
        # a rough profile may predict a cost of zero or less for the smallest subnets
        ratio = np.log(np.maximum(cost, np.finfo(np.float64).tiny + 1e-6 * abs(cost.max())))
        niche = ((ratio - ratio.min()) / max(np.ptp(ratio), 1e-12) * _NICHES).astype(np.int64)
        order = np.lexsort((both.keys, -both.accuracy, niche))
        _, starts, counts = np.unique(niche[order], return_index=True, return_counts=True)
        rank = np.arange(len(order)) - np.repeat(starts, counts)
        kept = np.union1d(order[rank < _PER_NICHE], nondominated(cost, both.accuracy))
        kept = kept[np.lexsort((both.keys[kept], cost[kept]))]
        return _Archive(problem=self.problem, name=self.name, pool=both.take(kept), cost=cost[kept])

    def children(self, rng: np.random.Generator, count: int) -> IntArray:
        """New canonical rows that meet the budgets: mutated crossovers of rows of similar cost."""
        vary, rows = self.problem.vary, self.pool.rows
        first = rng.integers(0, len(rows), size=count)
        reach = max(2, int(_MATING_RANGE * len(rows)))
        second = np.clip(first + rng.integers(-reach, reach + 1, size=count), 0, len(rows) - 1)
        crossed = vary.crossover(rows[first], rows[second], rng)
        crossed = np.where(rng.random((count, 1)) < 0.5, crossed, rows[first])
        drawn = vary.space.canonical(vary.mutate(crossed, rng, _ARCH_PROB, _SIZE_PROB))
        return self.problem.feasible(vary.fresh(drawn, self.pool.keys))


@dataclass(kw_only=True, slots=True, eq=False)
class _Run:
    """One run: its limits, its progress reports, and whether the keyboard interrupted it."""

    problem: Problem
    rng: np.random.Generator
    evaluations: int
    population: int
    progress: Progress | None
    stopped: bool = False

    @contextlib.contextmanager
    def until_stopped(self) -> Iterator[None]:
        """Turn a keyboard interrupt into ``stopped``; everything merged before it is kept."""
        try:
            yield
        except KeyboardInterrupt:
            self.stopped = True

    def report(self, archive: _Archive) -> None:
        if self.progress is not None:
            done = min(self.problem.evaluations, self.evaluations)
            self.progress(done, self.evaluations, archive.pool.best_accuracy)

    def evolve(self, archive: _Archive, share: float) -> _Archive:
        """Run generations until ``share`` of the evaluations is spent or no new child is found."""
        barren = 0
        with self.until_stopped():
            while not self.stopped and self._remaining(share) > 0 and barren < _MAX_BARREN:
                children = archive.children(self.rng, self.population)
                barren = 0 if len(children) else barren + 1
                archive = archive.merged(children[: self.evaluations - self.problem.evaluations])
                self.report(archive)
        return archive

    def refine(self, archive: _Archive) -> _Archive:
        """Try all single changes of the front's points, until none is new or all evaluations are spent."""
        vary, expanded = self.problem.vary, np.empty(0, dtype=np.int64)
        with self.until_stopped():
            while not self.stopped and (remaining := int(self._remaining(1.0))) > 0:
                front = archive.front()
                todo = front[~np.isin(archive.pool.keys[front], expanded)]
                if not len(todo):
                    break
                todo = todo[np.linspace(0, len(todo) - 1, min(len(todo), _REFINED_AT_ONCE)).astype(np.int64)]
                expanded = np.concatenate([expanded, archive.pool.keys[todo]])
                near = vary.fresh(vary.neighbours(archive.pool.rows[todo]), archive.pool.keys)
                archive = archive.merged(self.problem.feasible(near)[:remaining])
                self.report(archive)
        return archive

    def _remaining(self, share: float) -> float:
        return share * self.evaluations - self.problem.evaluations
