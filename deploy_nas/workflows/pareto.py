"""The accuracy-latency front of a profiled space in one run, and picks from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deploy_nas.accuracy.own import Predicts
from deploy_nas.core.errors import BudgetError, InfeasibleBudgetError, OptionError
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.shown import Shown
from deploy_nas.records.architecture import ArchitectureRecord, save_architecture
from deploy_nas.records.files import check_output
from deploy_nas.records.profile import Profile
from deploy_nas.records.result import (
    FRONT,
    Asked,
    Candidate,
    SearchRecord,
    answer_to,
    load_result,
    save_result,
)
from deploy_nas.report.inline import front_picture
from deploy_nas.search.pareto import Front, knee_of, pareto
from deploy_nas.workflows.question import LATENCY, Question, SearchRequest, ask, generator, predictor_for

EVALUATIONS = 100_000
KNEE = "knee"

Progress = Callable[[int, int, float], None]


def find_front(
    profile: Profile,
    predictor: Predicts,
    request: SearchRequest,
    *,
    evaluations: int = EVALUATIONS,
    progress: Progress | None = None,
) -> tuple[SearchRecord, Front]:
    """The front of latency on the first device against accuracy, within the request's budgets.

    Raises:
        InfeasibleBudgetError: nothing meets the budgets; names the one that binds.
        InputError: see :func:`deploy_nas.workflows.question.ask`.
    """
    question = ask(profile, predictor, request)
    try:
        front = pareto(
            profile.space,
            question.efficiency.get_efficiency_batch,
            predictor.predict_encoded,
            question.budgets,
            cost=LATENCY,
            evaluations=evaluations,
            rng=generator(request.seed),
            image_sizes=question.image_sizes,
            progress=progress,
        )
    except InfeasibleBudgetError as error:
        raise question.explained(error) from error
    record = SearchRecord(
        kind=FRONT,
        space=profile.space,
        asked=_asked(question, evaluations),
        history=(),
        evaluations=front.evaluations,
        interrupted=front.interrupted,
        candidates=[Candidate(record=r) for r in question.records(front.encoded)],
    )
    return record, front


def _asked(question: Question, evaluations: int) -> Asked:
    return replace(question.asked(), hyper={}, evaluations=evaluations)


def front_file(
    profile: Profile,
    output: Path | None,
    request: SearchRequest,
    *,
    evaluations: int = EVALUATIONS,
    force: bool = False,
    again: bool = False,
    progress: Progress | None = None,
) -> SearchRecord:
    """Find the front and write it; without an ``output`` it is not written.

    With ``again`` it goes on if there is a file, which is kept if it is this very front.
    """
    again = again and output is not None and output.is_file()
    if output is not None:
        check_output(output, force=force or again)
    predictor = predictor_for(profile, request.predictor, request.anchors)
    if again and output is not None:
        asked = _asked(ask(profile, predictor, request), evaluations)
        check_output(output, force=force or answer_to(asked, FRONT, output) is not None)
    record, _ = find_front(profile, predictor, request, evaluations=evaluations, progress=progress)
    if output is not None:
        save_result(record, output, force=force)
    return record


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ParetoFront(Shown):
    """A front: its ``record``, and picks from it."""

    record: SearchRecord

    @property
    def points(self) -> list[ArchitectureRecord]:
        """Its architectures with their predictions, the fastest first."""
        return [candidate.record for candidate in self.record.candidates]

    def pick(self, what: str | float = KNEE) -> ArchitectureRecord:
        """The architecture at the knee, or the best within so many ms; raises as :func:`pick`."""
        return pick(self.record, str(what))

    def _summary(self) -> str:
        ends = [f"{p.predicted.latency_ms:.4g} ms" for p in (self.points[0], self.points[-1])]
        return f"{len(self.points)} points of {self.record.space.id}, {' to '.join(ends)}"

    def _details(self) -> str:
        return front_picture(self.points)


def load_front(path: Path) -> SearchRecord:
    """Read a front; raises :class:`OptionError` for the result of a search with one budget."""
    record = load_result(path)
    if record.kind != FRONT or not record.candidates:
        raise OptionError("is not a front", subject=str(path), hint="make one with deploy-nas pareto")
    return record


def pick(front: SearchRecord, what: str) -> ArchitectureRecord:
    """One architecture of a front.

    Args:
        front: cheapest first.
        what: "knee", or a latency budget in ms, kept by the bound that the front was made with.

    Returns:
        The architecture with its predictions; without them if the front's numbers cannot be checked.

    Raises:
        OptionError: ``what`` is neither.
        BudgetError: every point is slower than that; names the fastest.
    """
    budget_ms = picked_budget_ms(what)
    records = [candidate.record for candidate in front.candidates]
    if budget_ms is None:
        latency = np.array([r.predicted.latency_ms for r in records], dtype=np.float64)
        accuracy = np.array([r.predicted.accuracy for r in records], dtype=np.float64)
        knee = records[knee_of(latency, accuracy)]
        return _picked(front, knee, replace(knee.predicted, picked=KNEE))
    within = [record for record in records if _bound(record) <= budget_ms]
    if not within:
        raise BudgetError(
            f"the front begins at {min(map(_bound, records)):.4g} ms, above {budget_ms:g}",
            subject="pick",
            hint="pick a larger budget",
        )
    best = max(within, key=lambda r: r.predicted.accuracy or 0.0)
    return _picked(front, best, replace(best.predicted, budget_ms=budget_ms, picked=f"{budget_ms:g}"))


def _picked(front: SearchRecord, record: ArchitectureRecord, said: Predicted) -> ArchitectureRecord:
    return replace(record, predicted=said if front.sealed else Predicted())


def picked_budget_ms(what: str) -> float | None:
    """The latency that a pick names, ``None`` for the knee; raises :class:`OptionError` for anything else."""
    if what == KNEE:
        return None
    try:
        budget_ms = float(what.removesuffix("ms"))
    except ValueError:
        raise OptionError(f"must be {KNEE} or a latency in ms, is {what!r}", subject="pick") from None
    if not 0 < budget_ms < math.inf:
        raise OptionError(f"must be a positive latency in ms, is {what!r}", subject="pick")
    return budget_ms


def _bound(record: ArchitectureRecord) -> float:
    said = record.predicted
    return said.bound_ms or said.latency_ms or math.inf


def pick_file(front: SearchRecord, what: str, output: Path, *, force: bool = False) -> ArchitectureRecord:
    """Pick one architecture of a front and write it."""
    record = pick(front, what)
    save_architecture(record, output, force=force)
    return record
