"""The seed's search class, for our predictors (whole generations) and for anyone's (one by one)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from deploy_nas.core.errors import InfeasibleBudgetError, MismatchError, OptionError
from deploy_nas.core.space import Architecture, IntArray
from deploy_nas.search.budgets import infeasible
from deploy_nas.search.evolution import HyperParameters, Progress, SearchResult, evolve
from deploy_nas.search.operators import Variation
from deploy_nas.search.plain import PlainSearch, seeded_globals
from deploy_nas.search.problem import Accuracy, Problem

BestInfo = tuple[float, Architecture, Any]

_log = logging.getLogger(__name__)
_TRIES, _BATCH = 40, 64


class EvolutionSearcher:
    """Evolutionary search with the interface of lab 3's ``EvolutionSearcher`` and OFA's ``EvolutionFinder``.

    With predictors that have batch forms (``get_efficiency_batch``, an ``arch_encoder`` that knows its
    ``space``; ``predict_encoded`` where there is one) whole generations are priced and predicted at once,
    see :func:`deploy_nas.search.evolution.evolve`. With any others it asks as a notebook would, one
    architecture at a time: ``get_efficiency``, ``satisfy_constraint`` (or ``efficiency <= constraint``),
    ``predict_acc`` of lists, and the encoder's own drawing.

    Args:
        efficiency_predictor: prices architectures.
        accuracy_predictor: predicts accuracy; has an ``arch_encoder``.
        seed: the same seed gives the same run, each time it is run. Predictors of others that draw from
            the global generators of ``random`` and numpy are covered: those are seeded for the run and
            put back after it.
        **hyper: the six hyper-parameters by name; see :class:`HyperParameters`. Each is an attribute too.

    Raises:
        OptionError: an unknown hyper-parameter, or one out of range, or a seed that is none.
        MismatchError: the two predictors are of different spaces, or share no image size.
    """

    arch_mutate_prob: float
    resolution_mutate_prob: float
    population_size: int
    max_time_budget: int
    parent_ratio: float
    mutation_ratio: float

    def __init__(
        self, efficiency_predictor: Any, accuracy_predictor: Any, *, seed: int | None = None, **hyper: Any
    ):
        self.efficiency_predictor = efficiency_predictor
        self.accuracy_predictor = accuracy_predictor
        self.seed = seed
        self._rng = _generator(seed)
        self._set(HyperParameters().updated(hyper))
        self._vary = self._variation()

    # -- hyper-parameters ----------------------------------------------------------------------

    @property
    def hyper(self) -> HyperParameters:
        """The six as they stand, checked."""
        return HyperParameters(**{name: getattr(self, name) for name in asdict(HyperParameters())})

    def update_hyper_params(self, new_param_dict: Mapping[str, Any]) -> None:
        """Change hyper-parameters by name; raises :class:`OptionError` for one unknown or out of range."""
        self._set(self.hyper.updated(new_param_dict))

    def _set(self, hyper: HyperParameters) -> None:
        for name, value in asdict(hyper).items():
            setattr(self, name, value)

    # -- search --------------------------------------------------------------------------------

    def search(
        self, constraint: Any, *, seed: int | None = None, progress: Progress | None = None
    ) -> SearchResult:
        """The whole answer of a run, for predictors with batch forms.

        Args:
            constraint: upper bounds on figures by name, or OFA's single number (on ``latency_ms`` where
                that is predicted, else on ``millionMACs``).
            seed: of this run; ``None``: the searcher's.
            progress: see :func:`evolve`.

        Raises:
            BudgetError, OptionError, InfeasibleBudgetError: see :func:`evolve`.
            MismatchError: a predictor without batch forms.
        """
        if self._vary is None:
            raise MismatchError("the predictors have no batch forms", hint="use run_search")
        return evolve(
            self._vary.space,
            self.efficiency_predictor.get_efficiency_batch,
            self._accuracy(),
            constraint,
            hyper=self.hyper,
            rng=self._run_rng(seed),
            image_sizes=self._vary.image_sizes,
            progress=progress,
        )

    def run_search(self, constraint: Any, verbose: bool = False, **kwargs: Any) -> BestInfo:
        """Search, as lab 3's ``EvolutionSearcher.run_search`` does: the best of :meth:`run_evolution_search`.

        Returns:
            ``(accuracy, architecture, efficiency)`` of the best.
        """
        return self.run_evolution_search(constraint, verbose, **kwargs)[1]

    def run_evolution_search(
        self,
        constraint: Any,
        verbose: bool = False,
        *,
        seed: int | None = None,
        progress: Progress | None = None,
        **hyper: Any,
    ) -> tuple[list[float], BestInfo]:
        """Search, as OFA's ``EvolutionFinder.run_evolution_search`` does.

        Args:
            constraint: see :meth:`search`; for predictors of others, whatever theirs take.
            verbose: report every hundredth generation to the log (level INFO).
            seed: of this run; ``None``: the searcher's.
            progress: called as ``(generation, generations, best accuracy)``.
            **hyper: hyper-parameters to change first, for good.

        Returns:
            Best accuracy by generation, and ``(accuracy, architecture, efficiency)`` of the best.
        """
        self.update_hyper_params(hyper)
        report = _logged(progress) if verbose else progress
        if self._vary is not None:
            result = self.search(constraint, seed=seed, progress=report)
            return list(result.history), (result.accuracy, result.architecture, result.efficiency)
        rng = self._run_rng(seed)
        encoder = self.accuracy_predictor.arch_encoder
        with seeded_globals(rng, encoder, active=seed is not None or self.seed is not None):
            return self._plain(rng).run(constraint, report)

    # -- the seed's single steps ---------------------------------------------------------------

    def random_valid_sample(self, constraint: Any) -> tuple[Architecture, Any]:
        """A random architecture that meets the constraint, and its efficiency.

        Raises:
            InfeasibleBudgetError: none found; names the nearest.
        """
        if self._vary is None:
            return self._plain(self._rng).random_valid_sample(constraint)
        return self._priced(self._problem(constraint).begin(self._rng, 1))

    def mutate_sample(self, sample: Architecture, constraint: Any) -> tuple[Architecture, Any]:
        """A mutant of ``sample`` that meets the constraint, and its efficiency; ``sample`` stays as it is.

        Raises:
            InfeasibleBudgetError: none among a bounded number; names the nearest.
        """
        if self._vary is None:
            return self._plain(self._rng).mutate_sample(sample, constraint)
        problem, vary, hyper = self._problem(constraint), self._vary, self.hyper
        parents = np.repeat(vary.space.encode([sample]), _BATCH, axis=0)
        return self._first_feasible(
            problem,
            lambda: vary.mutate(parents, self._rng, hyper.arch_mutate_prob, hyper.resolution_mutate_prob),
        )

    def crossover_sample(
        self, sample1: Architecture, sample2: Architecture, constraint: Any
    ) -> tuple[Architecture, Any]:
        """A child of both that meets the constraint, and its efficiency.

        Raises:
            InfeasibleBudgetError: none among a bounded number; names the nearest.
        """
        if self._vary is None:
            return self._plain(self._rng).crossover_sample(sample1, sample2, constraint)
        problem, vary = self._problem(constraint), self._vary
        a, b = np.repeat(vary.space.encode([sample1, sample2])[:, None], _BATCH, axis=1)
        return self._first_feasible(problem, lambda: vary.crossover(a, b, self._rng))

    # -- inside --------------------------------------------------------------------------------

    def _variation(self) -> Variation | None:
        """Operators, where both predictors can be asked for whole generations."""
        encoder, efficiency = self.accuracy_predictor.arch_encoder, self.efficiency_predictor
        if not hasattr(encoder, "space") or not hasattr(efficiency, "get_efficiency_batch"):
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
        return Variation(encoder.space, sizes)

    def _accuracy(self) -> Accuracy:
        predictor = self.accuracy_predictor
        if hasattr(predictor, "predict_encoded"):
            encoded: Accuracy = predictor.predict_encoded
            return encoded
        space = predictor.arch_encoder.space
        return lambda rows: predictor.predict_acc(space.decode(rows))

    def _problem(self, constraint: Any) -> Problem:
        assert self._vary is not None  # noqa: S101 - for the type checker; callers asked
        return Problem(
            self._vary, self.efficiency_predictor.get_efficiency_batch, self._accuracy(), constraint
        )

    def _plain(self, rng: np.random.Generator) -> PlainSearch:
        return PlainSearch(
            efficiency=self.efficiency_predictor, accuracy=self.accuracy_predictor, hyper=self.hyper, rng=rng
        )

    def _run_rng(self, seed: int | None) -> np.random.Generator:
        seed = self.seed if seed is None else seed
        return self._rng if seed is None else _generator(seed)

    def _first_feasible(self, problem: Problem, draw: Any) -> tuple[Architecture, Any]:
        nearest, least = None, np.inf
        for _ in range(_TRIES):
            rows: IntArray = draw()
            over = problem.excess(rows)
            if (over <= 1).any():
                return self._priced(rows[[int(np.argmax(over <= 1))]])
            if nearest is None or over.min() < least:
                nearest, least = rows[[int(np.argmin(over))]], float(over.min())
        assert nearest is not None  # noqa: S101 - _TRIES is positive
        found = {name: float(v[0]) for name, v in problem.figures(nearest).items()}
        raise _no_child(infeasible(problem.budgets, found, alone=len(problem.budgets) == 1))

    def _priced(self, rows: IntArray) -> tuple[Architecture, Any]:
        architecture = self.accuracy_predictor.arch_encoder.space.decode(rows[:1])[0]
        return architecture, self.efficiency_predictor.get_efficiency(architecture)


def _generator(seed: int | None) -> np.random.Generator:
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise OptionError(f"must be a whole number from 0 on, is {seed!r}", subject="seed") from error


def _no_child(error: InfeasibleBudgetError) -> InfeasibleBudgetError:
    hint = "the parents may be far over the budget: begin with random_valid_sample"
    return InfeasibleBudgetError(error.message, subject=error.subject, hint=hint)


def _logged(progress: Progress | None) -> Progress:
    def report(generation: int, total: int, best: float) -> None:
        if generation % 100 == 0:
            _log.info("generation %d of %d: best predicted accuracy %.5f", generation, total, best)
        if progress is not None:
            progress(generation, total, best)

    return report
