"""The measured finish of a search: export and time the best candidates, then choose by measurement."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from deploy_nas.core.disk import temporary_folder
from deploy_nas.core.errors import BudgetMissedError, OptionError
from deploy_nas.core.fingerprint import PROCESSOR
from deploy_nas.core.measured import Measured
from deploy_nas.core.precision import FP32
from deploy_nas.core.space import IntArray
from deploy_nas.device import machine
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.result import Candidate, Timed
from deploy_nas.workflows.question import LATENCY, Question

Say = Callable[[int, int, str], None]


def check_measurable(question: Question, count: int) -> None:
    """Raise :class:`OptionError` unless there is a latency budget and the profile is this machine's."""
    if count < 0:
        raise OptionError(f"must be at least 1, is {count}", subject="measure_top")
    if LATENCY not in question.request.budgets:
        raise OptionError("needs a latency budget to compare measurements with", subject="measure_top")
    on = question.profile.fingerprint
    if on.precision != FP32:
        raise OptionError(f"times {FP32} files, but the profile is {on.precision}", subject="measure_top")
    here = question.profile.differences(machine.fingerprint_like(on))
    if foreign := [d for d in here if d.name in PROCESSOR or d.name == "provider"]:
        raise OptionError(
            f"times on this machine, but the profile is another's ({foreign[0]})", subject="measure_top"
        )


def contenders(plain: IntArray, bounded: IntArray, count: int) -> IntArray:
    """``count`` distinct candidates to time, half of them from each list.

    Those under the plain prediction may meet the budget in a measurement although their bound exceeds it.

    Args:
        plain: candidates under the plain prediction, best first, int64 ``[n, 1 + genes]``.
        bounded: candidates under the bound, best first, int64 ``[m, 1 + genes]``.
        count: how many.
    """
    half = count // 2
    rows = np.concatenate([plain[:half], bounded[:count], plain[half:count]])
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)[:count]]


def time_candidates(
    question: Question, rows: IntArray, weights: str | None, measuring: Say | None
) -> tuple[list[Candidate], bool]:
    """Export and time each row; returns them most accurate first, and whether the user stopped the run.

    Raises:
        UnstableDeviceError: what was measured cannot be relied on, and the request does not allow that.
    """
    from deploy_nas.deploy.export import export_onnx
    from deploy_nas.deploy.measuring import measure

    profile, request = question.profile, question.request
    on = profile.fingerprint
    timed: list[Candidate] = []
    with temporary_folder() as folder:
        try:
            for number, record in enumerate(question.records(rows)):
                path = folder / f"{number}.onnx"
                export_onnx(record.architecture, path, space=record.space, weights=weights, seed=request.seed)
                found = measure(
                    path.read_bytes(),
                    threads=on.threads,
                    provider=on.provider,
                    provider_options=on.provider_options,
                    profile=profile,
                    seed=request.seed,
                )
                path.unlink()
                if not request.allow_unstable:
                    found.check(f"candidate {number + 1}")
                timed.append(Candidate(record=record, measured=_timed(found, request.budgets[LATENCY])))
                if measuring is not None:
                    measuring(number + 1, len(rows), f"{found.latency_ms:.4g} ms")
        except KeyboardInterrupt:
            return _by_accuracy(timed), True
    return _by_accuracy(timed), False


def _timed(found: Measured, budget_ms: float) -> Timed:
    return Timed(
        latency_ms=round(found.latency_ms, 6),
        within_budget=bool(found.latency_ms <= budget_ms),
        p50_ms=round(found.p50_ms, 6),
        p90_ms=round(found.p90_ms, 6),
        p99_ms=round(found.p99_ms, 6),
        faults=found.faults,
    )


def _by_accuracy(timed: Sequence[Candidate]) -> list[Candidate]:
    return sorted(timed, key=lambda c: -(c.record.predicted.accuracy or 0.0))


def clear_of_noise_ms(question: Question) -> float:
    """The budget less what the profile cannot tell apart, ms."""
    noise = question.profile.noise.resolution_percent / 100.0
    return question.request.budgets[LATENCY] / (1.0 + noise)


def best_measured(
    timed: Sequence[Candidate],
    fallback: ArchitectureRecord,
    interrupted: bool,
    clear_ms: float = math.inf,
) -> tuple[ArchitectureRecord, BudgetMissedError | None]:
    """The most accurate candidate within its budget, and the error if all miss it.

    Candidates of at most ``clear_ms`` come first (:func:`clear_of_noise_ms`): of several near the budget, the
    one that was measured within it may have been lucky, and misses it the next time. A run stopped before any
    was found returns ``fallback``, the search's own answer, unless that was timed.
    """
    for most_ms in (clear_ms, math.inf):
        for candidate in timed:
            record, measured = candidate.record, candidate.measured
            if measured is not None and measured.within_budget and measured.latency_ms <= most_ms:
                known = replace(record.predicted, measured_ms=measured.latency_ms)
                return replace(record, predicted=known), None
    if interrupted and not any(c.record.same_network(fallback) for c in timed):
        return fallback, None
    fastest = min(c.measured.latency_ms for c in timed if c.measured is not None)
    return fallback, BudgetMissedError(
        f"none of the {len(timed)} candidates timed meets the budget: the fastest took {fastest:.4g} ms",
        subject="measure_top",
        hint="the device may be slower now than when it was profiled; deploy-nas verify shows it",
    )
