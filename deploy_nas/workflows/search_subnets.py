"""Search one profile's space for the most accurate subnet within budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deploy_nas.accuracy.predictor import AccuracyPredictor, load_accuracy_predictor
from deploy_nas.core.errors import BudgetError, InfeasibleBudgetError, MismatchError, OptionError
from deploy_nas.core.spaces import EMBEDDED
from deploy_nas.records.architecture import ArchitectureRecord, save_architecture
from deploy_nas.records.files import check_output
from deploy_nas.records.profile import Profile, load_profile
from deploy_nas.search.efficiency import MeasuredEfficiencyPredictor
from deploy_nas.search.evolution import HyperParameters, SearchResult, evolve

LATENCY = "latency_ms"
DEFAULT_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRequest:
    """What to search for.

    ``budgets`` are upper bounds by figure (``latency_ms``, ``millionMACs``, ``params_million``,
    ``KBPeakMemory``). The latency budget is kept by the profile's bound at ``confidence``; ``None``
    takes the plain prediction.
    """

    budgets: Mapping[str, float]
    confidence: float | None = DEFAULT_CONFIDENCE
    predictor: str | None = None
    image_sizes: Sequence[int] | None = None
    bytes_per_element: int = 1
    hyper: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    allow_unstable: bool = False


def predictor_for(profile: Profile, source: str | None) -> AccuracyPredictor:
    """The accuracy predictor asked for; the embedded space has its own."""
    if source is None and profile.space.id != EMBEDDED:
        raise OptionError(
            f"{profile.space.id} comes with no predictor of its own",
            subject="--predictor",
            hint="name one: a PATH, or pretrained for OFA's published ones",
        )
    return load_accuracy_predictor(profile.space, source or "embedded")


def search(
    profile: Profile,
    predictor: AccuracyPredictor,
    request: SearchRequest,
    progress: Callable[[int, int, float], None] | None = None,
) -> tuple[ArchitectureRecord, SearchResult]:
    """Find the best subnet; returns its record (with what was predicted) and the whole result.

    Raises:
        BudgetError: a budget that is none; no budget at all.
        InfeasibleBudgetError: nothing meets them; names the nearest found.
        MismatchError: an unstable profile without ``allow_unstable``, or image sizes it does not hold.
    """
    if not profile.stable and not request.allow_unstable:
        raise MismatchError(
            f"is unstable ({'; '.join(profile.noise.faults)})",
            subject=f"profile {profile.id}",
            hint="profile again on a quiet device, or use --allow-unstable",
        )
    if not request.budgets:
        raise BudgetError("no budget was given", hint="name one, for instance --max-latency-ms")
    confidence = request.confidence
    if confidence is not None and not 0 < confidence < 1:
        raise OptionError(f"must be between 0 and 1, or none, is {confidence}", subject="--confidence")
    sizes = tuple(request.image_sizes or profile.image_sizes)
    if missing := sorted(set(sizes) - set(profile.image_sizes)):
        raise MismatchError(
            f"image size {missing[0]} was not profiled",
            subject=f"profile {profile.id}",
            hint=f"it holds {', '.join(map(str, profile.image_sizes))}",
        )
    ratio = max(1.0, profile.upper_ratio(confidence))
    efficiency = MeasuredEfficiencyPredictor(profile, bytes_per_element=request.bytes_per_element)
    budgets = dict(request.budgets)
    budget_ms = budgets.get(LATENCY)
    if budget_ms is not None and math.isfinite(budget_ms):
        budgets[LATENCY] = budget_ms / ratio
    try:
        result = evolve(
            profile.space,
            efficiency.get_efficiency_batch,
            predictor.predict_encoded,
            budgets,
            hyper=HyperParameters().updated(request.hyper),
            rng=np.random.default_rng(request.seed),
            image_sizes=sizes,
            progress=progress,
        )
    except InfeasibleBudgetError as error:
        if ratio == 1.0 or budget_ms is None:
            raise
        raise InfeasibleBudgetError(
            f"{error} (the budget of {budget_ms:g} ms is kept with {100 * (confidence or 0):g}% confidence "
            f"by searching below {budgets[LATENCY]:.4g} ms)"
        ) from error
    predicted: dict[str, Any] = {
        **{name: round(value, 6) for name, value in result.efficiency.items()},
        "accuracy": round(result.accuracy, 4),
        "accuracy_unit": predictor.unit,
        "bound_ms": round(result.efficiency[LATENCY] * ratio, 6),
        "confidence": confidence,
        "profile": profile.id,
        "threads": int(profile.fingerprint.get("threads", 1)),
        "precision": str(profile.fingerprint.get("precision", "fp32")),
        "seed": request.seed,
    }
    spread = float(predictor.predict_spread([result.architecture])[0])
    if spread > 0.0:  # an ensemble
        predicted["accuracy_spread"] = round(spread, 4)
    if budget_ms is not None:
        predicted["budget_ms"] = budget_ms
    record = ArchitectureRecord(space=profile.space, architecture=result.architecture, predicted=predicted)
    return record, result


def search_file(
    profile: Path,
    output: Path,
    request: SearchRequest,
    *,
    force: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
) -> tuple[ArchitectureRecord, SearchResult, AccuracyPredictor]:
    """Search a profile file's space and write the architecture file."""
    check_output(output, force=force)
    loaded = load_profile(profile)
    predictor = predictor_for(loaded, request.predictor)
    record, result = search(loaded, predictor, request, progress)
    save_architecture(record, output, force=force)
    return record, result, predictor
