"""Search one space for the most accurate subnet within budgets, on one device or several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_nas.accuracy.own import Predicts
from deploy_nas.core.errors import BudgetError, DeployNASError, InfeasibleBudgetError
from deploy_nas.core.extras import require_supernets
from deploy_nas.core.shown import Shown
from deploy_nas.records.architecture import ArchitectureRecord, save_architecture
from deploy_nas.records.files import check_output
from deploy_nas.records.profile import Profile
from deploy_nas.records.result import SEARCH, Asked, Candidate, SearchRecord, answer_to, save_result
from deploy_nas.report.inline import architecture_line, subnets_table
from deploy_nas.search.evolution import HyperParameters, SearchResult, evolve
from deploy_nas.workflows.measured_finish import (
    Say,
    best_measured,
    check_measurable,
    clear_of_noise_ms,
    contenders,
    time_candidates,
)
from deploy_nas.workflows.question import Question, SearchRequest, ask, generator, predictor_for

_KEPT = 100

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Found(Shown):
    """The best subnet, the whole result, and the predictor that was used."""

    record: ArchitectureRecord
    result: SearchRecord
    predictor: Predicts

    def _summary(self) -> str:
        return architecture_line(self.record)

    def _details(self) -> str:
        found = [candidate.record for candidate in self.result.candidates]
        return subnets_table([self.record, *(r for r in found if not r.same_network(self.record))][:10])


def search(
    profile: Profile,
    predictor: Predicts,
    request: SearchRequest,
    progress: Progress | None = None,
) -> tuple[ArchitectureRecord, SearchResult]:
    """Find the best subnet; returns its record with its predictions, and the whole result.

    Raises:
        BudgetError: an invalid budget, or no budget at all.
        InfeasibleBudgetError: no subnet meets them; names the one that binds and the nearest value found.
        UnstableDeviceError, MismatchError, OptionError: see :func:`deploy_nas.workflows.question.ask`.
    """
    question = ask(profile, predictor, request)
    result = _evolve(question, progress)
    return question.records(result.encoded[None])[0], result


def _evolve(question: Question, progress: Progress | None) -> SearchResult:
    if not question.budgets:
        raise BudgetError("no budget was given", hint="name one, for instance `max_latency_ms`")
    try:
        return evolve(
            question.profile.space,
            question.efficiency.get_efficiency_batch,
            question.predictor.predict_encoded,
            question.budgets,
            hyper=HyperParameters().updated(question.request.hyper),
            rng=generator(question.request.seed),
            image_sizes=question.image_sizes,
            progress=progress,
        )
    except InfeasibleBudgetError as error:
        raise question.explained(error) from error


def result_path(output: Path) -> Path:
    """The path of the whole result, beside the architecture file."""
    return output.with_name(f"{output.name.removesuffix('.json')}.search.json")


def search_file(
    profile: Profile,
    output: Path | None,
    request: SearchRequest,
    *,
    measure_top: int = 0,
    weights: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    measuring: Say | None = None,
) -> Found:
    """Search, and write the architecture file and, beside it, the whole result.

    Args:
        profile: of the first device.
        output: the architecture file; ``None``: nothing is written.
        request: what to search for.
        measure_top: export and time this many of the best on this machine, and choose the most accurate that
            meets the latency budget; 0: rely on the predictions.
        weights: as :func:`deploy_nas.export_onnx` takes them; latency does not depend on them.
        force: replace the outputs.
        progress: of the search.
        measuring: called as ``(timed, to time, what)``.

    Raises:
        BudgetMissedError: all candidates timed miss the budget; the result is written.
        DeployNASError: a candidate cannot be exported or timed; the result is written.
        InputError: see :func:`search`.
    """
    if output is not None:
        check_output(output, force=force)
    if measure_top:
        require_supernets()
    predictor = predictor_for(profile, request.predictor, request.anchors)
    question = ask(profile, predictor, request)
    asked = replace(question.asked(), measure_top=measure_top)
    killed = output is not None and _was_killed(output, asked)
    if output is not None:
        check_output(result_path(output), force=force or killed)
    if measure_top:
        check_measurable(question, measure_top)
    result = _evolve(question, progress)
    kept = question.records(result.candidates[:_KEPT])
    candidates: list[Candidate] = [Candidate(record=record) for record in kept]
    record, interrupted = kept[0], result.interrupted
    fault: DeployNASError | None = None
    if measure_top and not interrupted:
        plain = _evolve(question.unbounded(), None)
        interrupted = plain.interrupted
        if not interrupted:
            rows = contenders(plain.candidates, result.candidates, measure_top)
            try:
                timed, interrupted = time_candidates(question, rows, weights, measuring)
            except DeployNASError as error:  # raised once the result is written
                fault = error
            else:
                record, fault = best_measured(timed, kept[0], interrupted, clear_of_noise_ms(question))
                known = [t.record.architecture for t in timed]
                candidates = [*timed, *(c for c in candidates if c.record.architecture not in known)]
    whole = SearchRecord(
        kind=SEARCH,
        space=profile.space,
        asked=asked,
        history=[round(float(value), 6) for value in result.history],
        evaluations=result.evaluations,
        interrupted=interrupted,
        candidates=candidates,
    )
    if output is not None:
        save_result(whole, result_path(output), force=force or (killed and not interrupted))
    if fault is not None:
        if force and output is not None:
            output.unlink(missing_ok=True)  # it is the answer to an earlier question
        raise fault
    if output is not None:
        save_architecture(record, output, force=force)
    return Found(record=record, result=whole, predictor=predictor)


def _was_killed(output: Path, asked: Asked) -> bool:
    """Whether a search for the very same was killed between its two files.

    The whole result is written first. If it is alone, the search was killed, or none of the candidates that
    it timed kept the budget.
    """
    path = result_path(output)
    if output.exists() or not path.exists():
        return False
    held = answer_to(asked, SEARCH, path)
    return held is not None and (not held.timed or any(timed.within_budget for _, timed in held.timed))
