"""The search class of lab 3 and OFA: whole generations with batch predictors, else one by one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Generic

import numpy as np

from deploy_nas.core.errors import InfeasibleBudgetError, MismatchError, OptionError
from deploy_nas.core.shown import Shown
from deploy_nas.core.space import Architecture, FloatArray, IntArray, Space
from deploy_nas.search.budgets import infeasible
from deploy_nas.search.evolution import HyperParameters, Progress, SearchResult, evolve
from deploy_nas.search.interfaces import (
    AccuracyPredictorLike,
    Cost,
    EfficiencyPredictor,
    is_space_encoder,
    predicting,
    predicts_batches,
    prices_batches,
    pricing,
)
from deploy_nas.search.operators import Variation
from deploy_nas.search.plain import PlainSearch, seeded_globals
from deploy_nas.search.problem import Accuracy, Efficiency, Problem

_log = logging.getLogger(__name__)
_TRIES, _BATCH = 40, 64


class EvolutionSearcher(Shown, Generic[Cost]):
    """Evolutionary search with the interface of lab 3's ``EvolutionSearcher`` and OFA's ``EvolutionFinder``.

    Predictors with batch forms (``get_efficiency_batch``, an ``arch_encoder`` that knows its ``space``, and
    optionally ``predict_encoded``) price and predict whole generations at once; see
    :func:`deploy_nas.search.evolution.evolve`. All others are called as a notebook would, one architecture
    at a time: ``get_efficiency``, ``satisfy_constraint`` (or ``efficiency <= constraint``), ``predict_acc``
    of lists, and the encoder's own draws.

    Args:
        efficiency_predictor: prices architectures.
        accuracy_predictor: predicts accuracy; has an ``arch_encoder``.
        seed: the same seed gives the same result in every run. This covers predictors that draw from the
            global generators of ``random`` and numpy, which are seeded for a run and restored after it.
        **hyper: the six hyper-parameters by name; see :class:`HyperParameters`. Each is also an attribute.

    Raises:
        OptionError: an unknown hyper-parameter, a value out of range, or an invalid seed.
        MismatchError: the predictors are of different spaces, or have no image size in common.
    """

    arch_mutate_prob: float
    resolution_mutate_prob: float
    population_size: int
    max_time_budget: int
    parent_ratio: float
    mutation_ratio: float

    def __init__(
        self,
        efficiency_predictor: EfficiencyPredictor[Cost],
        accuracy_predictor: AccuracyPredictorLike,
        *,
        seed: int | None = None,
        **hyper: object,
    ) -> None:
        self.efficiency_predictor = efficiency_predictor
        self.accuracy_predictor = accuracy_predictor
        self.seed = seed
        self._rng = _generator(seed)
        self._set(HyperParameters().updated(hyper))
        self._batch = self._batch_forms()

    def _summary(self) -> str:
        how = "whole generations" if self._batch is not None else "one architecture at a time"
        return f"{self.max_time_budget} generations of {self.population_size}, {how}"

    # -- hyper-parameters ----------------------------------------------------------------------

    @property
    def hyper(self) -> HyperParameters:
        """The current values, checked."""
        return HyperParameters(**{name: getattr(self, name) for name in asdict(HyperParameters())})

    def update_hyper_params(self, new_param_dict: Mapping[str, object]) -> None:
        """Change hyper-parameters; raises :class:`OptionError` for an unknown name or invalid value."""
        self._set(self.hyper.updated(new_param_dict))

    def _set(self, hyper: HyperParameters) -> None:
        for name, value in asdict(hyper).items():
            setattr(self, name, value)

    # -- search --------------------------------------------------------------------------------

    def search(
        self, constraint: object, *, seed: int | None = None, progress: Progress | None = None
    ) -> SearchResult:
        """Search, and return the full result; needs predictors with batch forms.

        Args:
            constraint: upper bounds on figures by name, or a single number as OFA takes it (on
                ``latency_ms`` where that is predicted, else on ``millionMACs``).
            seed: seed of this run; ``None``: the searcher's.
            progress: see :func:`evolve`.

        Raises:
            BudgetError, OptionError, InfeasibleBudgetError: see :func:`evolve`.
            MismatchError: a predictor without batch forms.
        """
        if self._batch is None:
            raise MismatchError("the predictors have no batch forms", hint="use run_search")
        vary, efficiency, accuracy = self._batch
        return evolve(
            vary.space,
            efficiency,
            accuracy,
            constraint,
            hyper=self.hyper,
            rng=self._run_rng(seed),
            image_sizes=vary.image_sizes,
            progress=progress,
        )

    def run_search(
        self,
        constraint: object,
        verbose: bool = False,
        *,
        seed: int | None = None,
        progress: Progress | None = None,
        **hyper: object,
    ) -> tuple[float, Architecture, Cost]:
        """Search as lab 3's ``EvolutionSearcher.run_search`` does; see :meth:`run_evolution_search`.

        Returns:
            ``(accuracy, architecture, efficiency)`` of the best.
        """
        return self.run_evolution_search(constraint, verbose, seed=seed, progress=progress, **hyper)[1]

    def run_evolution_search(
        self,
        constraint: object,
        verbose: bool = False,
        *,
        seed: int | None = None,
        progress: Progress | None = None,
        **hyper: object,
    ) -> tuple[list[float], tuple[float, Architecture, Cost]]:
        """Search as OFA's ``EvolutionFinder.run_evolution_search`` does.

        Args:
            constraint: see :meth:`search`; without batch forms, whatever the efficiency predictor accepts.
            verbose: log every hundredth generation (level INFO).
            seed: seed of this run; ``None``: the searcher's.
            progress: called as ``(generation, generations, best accuracy)``.
            **hyper: hyper-parameters to change first; the change is permanent.

        Returns:
            Best accuracy by generation, and ``(accuracy, architecture, efficiency)`` of the best.

        Raises:
            BudgetError, OptionError, InfeasibleBudgetError: see :func:`evolve`.
        """
        self.update_hyper_params(hyper)
        report = _logged(progress) if verbose else progress
        if self._batch is not None:
            result = self.search(constraint, seed=seed, progress=report)
            efficiency = pricing(self.efficiency_predictor)(result.architecture)
            return list(result.history), (result.accuracy, result.architecture, efficiency)
        rng = self._run_rng(seed)
        encoder = self.accuracy_predictor.arch_encoder
        with seeded_globals(rng, encoder, active=seed is not None or self.seed is not None):
            return self._plain(rng).run(constraint, report)

    # -- single steps --------------------------------------------------------------------------

    def random_valid_sample(self, constraint: object) -> tuple[Architecture, Cost]:
        """A random architecture that meets the constraint, and its efficiency.

        Raises:
            InfeasibleBudgetError: none found; names the nearest value.
        """
        if self._batch is None:
            return self._plain(self._rng).random_valid_sample(constraint)
        problem = Problem(*self._batch, constraint)
        return self._priced(problem, problem.begin(self._rng, 1))

    def mutate_sample(self, sample: Architecture, constraint: object) -> tuple[Architecture, Cost]:
        """A mutant of ``sample`` that meets the constraint, and its efficiency; ``sample`` is not modified.

        Raises:
            InfeasibleBudgetError: none found in a bounded number of tries; names the nearest value.
        """
        if self._batch is None:
            return self._plain(self._rng).mutate_sample(sample, constraint)
        problem, vary, hyper = Problem(*self._batch, constraint), self._batch[0], self.hyper
        parents = np.repeat(vary.space.encode([sample]), _BATCH, axis=0)
        return self._first_feasible(
            problem,
            lambda: vary.mutate(parents, self._rng, hyper.arch_mutate_prob, hyper.resolution_mutate_prob),
        )

    def crossover_sample(
        self, sample1: Architecture, sample2: Architecture, constraint: object
    ) -> tuple[Architecture, Cost]:
        """A child of both that meets the constraint, and its efficiency.

        Raises:
            InfeasibleBudgetError: none found in a bounded number of tries; names the nearest value.
        """
        if self._batch is None:
            return self._plain(self._rng).crossover_sample(sample1, sample2, constraint)
        problem, vary = Problem(*self._batch, constraint), self._batch[0]
        a, b = np.repeat(vary.space.encode([sample1, sample2])[:, None], _BATCH, axis=1)
        return self._first_feasible(problem, lambda: vary.crossover(a, b, self._rng))

    # -- inside --------------------------------------------------------------------------------

    def _batch_forms(self) -> tuple[Variation, Efficiency, Accuracy] | None:
        """Operators, pricing and prediction of whole generations, where both predictors support them."""
        encoder: object = self.accuracy_predictor.arch_encoder
        efficiency: object = self.efficiency_predictor
        if not is_space_encoder(encoder) or not prices_batches(efficiency):
            return None
        if encoder.space.id != efficiency.space.id:
            raise MismatchError(
                f"is of space {encoder.space.id}, the efficiency predictor of {efficiency.space.id}",
                subject="accuracy predictor",
            )
        sizes = [size for size in encoder.image_sizes if size in efficiency.image_sizes]
        if not sizes:
            raise MismatchError(
                f"the accuracy predictor draws image sizes {', '.join(map(str, encoder.image_sizes))}, "
                f"priced are {', '.join(map(str, efficiency.image_sizes))}",
                subject="image sizes",
            )
        return (
            Variation(encoder.space, sizes),
            lambda rows: efficiency.get_efficiency_batch(rows),
            lambda rows: self._predicted(encoder.space, rows),
        )

    def _predicted(self, space: Space, rows: IntArray) -> FloatArray:
        """Predicted accuracies of encoded rows, float64 ``[n]``."""
        predictor: object = self.accuracy_predictor
        if predicts_batches(predictor):
            return predictor.predict_encoded(rows)
        return np.asarray(predicting(self.accuracy_predictor)(space.decode(rows)), dtype=np.float64)

    def _plain(self, rng: np.random.Generator) -> PlainSearch[Cost]:
        return PlainSearch(
            efficiency=self.efficiency_predictor, accuracy=self.accuracy_predictor, hyper=self.hyper, rng=rng
        )

    def _run_rng(self, seed: int | None) -> np.random.Generator:
        seed = self.seed if seed is None else seed
        return self._rng if seed is None else _generator(seed)

    def _first_feasible(self, problem: Problem, draw: Callable[[], IntArray]) -> tuple[Architecture, Cost]:
        """The first drawn row that meets the budgets, and its efficiency."""
        nearest, least = None, np.inf
        for _ in range(_TRIES):
            rows = draw()
            over = problem.excess(rows)
            if (over <= 1).any():
                return self._priced(problem, rows[[int(np.argmax(over <= 1))]])
            if nearest is None or over.min() < least:
                nearest, least = rows[[int(np.argmin(over))]], float(over.min())
        assert nearest is not None  # noqa: S101 - _TRIES is positive
        found = {name: float(v[0]) for name, v in problem.figures(nearest).items()}
        raise _no_child(infeasible(problem.budgets, found, alone=len(problem.budgets) == 1))

    def _priced(self, problem: Problem, rows: IntArray) -> tuple[Architecture, Cost]:
        architecture = problem.vary.space.decode(rows[:1])[0]
        return architecture, pricing(self.efficiency_predictor)(architecture)


def _generator(seed: int | None) -> np.random.Generator:
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise OptionError(f"must be a whole number of at least 0, is {seed!r}", subject="seed") from error


def _no_child(error: InfeasibleBudgetError) -> InfeasibleBudgetError:
    hint = "the parents may be far over the budget: start from random_valid_sample"
    return InfeasibleBudgetError(error.message, subject=error.subject, hint=hint)


def _logged(progress: Progress | None) -> Progress:
    def report(generation: int, total: int, best: float) -> None:
        if generation % 100 == 0:
            _log.info("generation %d of %d: best predicted accuracy %.5f", generation, total, best)
        if progress is not None:
            progress(generation, total, best)

    return report
