"""The measured finish of a search: export and time the best candidates, and believe the clock."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deploy_nas.core.errors import BudgetMissedError, OptionError
from deploy_nas.core.precision import FP32
from deploy_nas.core.space import IntArray
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.result import Candidate
from deploy_nas.workflows.question import LATENCY, Question

if TYPE_CHECKING:
    from deploy_nas.deploy.verify import Measured

Say = Callable[[int, int, str], None]


def check_measurable(question: Question, count: int) -> None:
    """Raise :class:`OptionError` unless there is a latency budget and the profile is this machine's."""
    from deploy_nas.deploy.verify import device_differences

    if count < 0:
        raise OptionError(f"must be at least 1, is {count}", subject="--measure-top")
    if LATENCY not in question.request.budgets:
        raise OptionError("needs a latency budget to hold the measurements against", subject="--measure-top")
    precision = question.profile.fingerprint.get("precision", FP32)
    if precision != FP32:
        raise OptionError(
            f"exports and times {FP32} files, and the profile is {precision}", subject="--measure-top"
        )
    here = device_differences(question.profile)
    foreign = [d for d in here if d.startswith(("imported", "cpu", "machine", "provider:"))]
    if foreign:
        raise OptionError(
            f"times on this machine, and the profile is another's ({foreign[0]})", subject="--measure-top"
        )


def contenders(bold: IntArray, cautious: IntArray, count: int) -> IntArray:
    """``count`` distinct rows: half the best under the plain prediction, where measuring may find room.

    Args:
        bold: candidates under the plain prediction, best first, int64 ``[n, 1 + genes]``.
        cautious: candidates under the bound, best first, int64 ``[m, 1 + genes]``.
        count: how many.
    """
    half = count // 2
    rows = np.concatenate([bold[:half], cautious[:count], bold[half:count]])
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)[:count]]


def time_candidates(
    question: Question, rows: IntArray, weights: str | None, measuring: Say | None
) -> tuple[list[Candidate], bool]:
    """Each exported and timed, most accurate first, and whether the user stopped it."""
    from deploy_nas.deploy.export import export_onnx
    from deploy_nas.deploy.verify import measure

    profile, request = question.profile, question.request
    timed: list[Candidate] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number, record in enumerate(question.records(rows)):
                path = Path(folder) / f"{number}.onnx"
                export_onnx(record.architecture, path, space=record.space, weights=weights, seed=request.seed)
                found = measure(
                    path.read_bytes(),
                    threads=int(profile.fingerprint.get("threads", 1)),
                    provider=str(profile.fingerprint["provider"]),
                    provider_options=profile.fingerprint.get("provider_options") or None,
                    profile=profile,
                    seed=request.seed,
                )
                path.unlink()
                timed.append(Candidate(record=record, measured=_figures(found, request.budgets[LATENCY])))
                if measuring is not None:
                    measuring(number + 1, len(rows), f"{found.latency_ms:.4g} ms")
        except KeyboardInterrupt:
            return _by_accuracy(timed), True
    return _by_accuracy(timed), False


def _figures(found: Measured, budget_ms: float) -> dict[str, Any]:
    return {
        "latency_ms": round(found.latency_ms, 6),
        "p50_ms": round(found.p50_ms, 6),
        "p90_ms": round(found.p90_ms, 6),
        "p99_ms": round(found.p99_ms, 6),
        "within_budget": bool(found.latency_ms <= budget_ms),
    }


def _by_accuracy(timed: Sequence[Candidate]) -> list[Candidate]:
    return sorted(timed, key=lambda c: -float(c.record.predicted["accuracy"]))


def best_measured(
    timed: Sequence[Candidate], fallback: ArchitectureRecord, interrupted: bool
) -> tuple[ArchitectureRecord, BudgetMissedError | None]:
    """The most accurate within its budget; stopped before one was found, the search's own untimed answer."""
    for candidate in timed:
        if candidate.measured["within_budget"]:
            predicted = {**candidate.record.predicted, "measured_ms": candidate.measured["latency_ms"]}
            return replace(candidate.record, predicted=predicted), None
    if interrupted and all(c.record.architecture != fallback.architecture for c in timed):
        return fallback, None
    fastest = min(candidate.measured["latency_ms"] for candidate in timed)
    return fallback, BudgetMissedError(
        f"none of the {len(timed)} candidates timed meets the budget: the fastest took {fastest:.4g} ms",
        subject="--measure-top",
        hint="the device may be slower now than when it was profiled: see deploy-nas verify",
    )
