"""``profile_device``, ``search``, ``pareto``, ``explain``, ``make_kit``, ``import_kit``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_nas.api.progress import Progress, shown
from deploy_nas.core.disk import temporary_folder
from deploy_nas.core.figures import LATENCY, MACS, MODEL_SIZE, PARAMS, PEAK_MEMORY
from deploy_nas.core.fingerprint import ONNXRUNTIME, on_runtime
from deploy_nas.core.precision import FP32, THIS_PROCESSOR
from deploy_nas.core.shown import Shown
from deploy_nas.records.profile import Profile
from deploy_nas.search.own import OwnFigure
from deploy_nas.workflows.explain import Explanation
from deploy_nas.workflows.explain import explain as explain_subnet
from deploy_nas.workflows.given import (
    GivenArchitecture,
    GivenPath,
    GivenProfile,
    GivenSpace,
    architecture_given,
    profile_given,
    space_name,
)
from deploy_nas.workflows.kit import import_result, profile_target, write_kit
from deploy_nas.workflows.pareto import EVALUATIONS, ParetoFront, front_file
from deploy_nas.workflows.profile import ProfileRequest
from deploy_nas.workflows.profile import profile_device as profile_here
from deploy_nas.workflows.question import (
    DEFAULT_CONFIDENCE,
    DEFAULT_HYPER,
    GivenPredictor,
    SearchRequest,
    load_devices,
    predictor_for,
    predictor_source,
)
from deploy_nas.workflows.refresh import Refreshed
from deploy_nas.workflows.refresh import refresh_profile as refresh
from deploy_nas.workflows.search import Found, search_file

Bounds = float | Sequence[float]
Profiles = GivenProfile | Sequence[GivenProfile]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Kit(Shown):
    """A kit that was written; on the device: ``python3 KIT -o result.jsonl``."""

    path: Path
    size_bytes: int

    def _summary(self) -> str:
        return f"{self.path}, {self.size_bytes / 1e6:.1f} MB"


def profile_device(
    space: GivenSpace,
    output: GivenPath | None = None,
    *,
    like: Sequence[GivenProfile] = (),
    threads: int = 1,
    image_sizes: Sequence[int] | None = None,
    runtime: str = ONNXRUNTIME,
    provider: str = "cpu",
    provider_options: Mapping[str, str] | None = None,
    precision: str = FP32,
    int8_for: str = THIS_PROCESSOR,
    quick: bool = False,
    allow_unstable: bool = False,
    target: str | None = None,
    ssh_options: Sequence[str] = (),
    fresh: bool = False,
    seed: int = 0,
    force: bool = False,
    progress: Progress | None = None,
) -> Profile:
    """Time every layer of a space on this device, or on ``target``, as ``deploy-nas profile`` does.

    With an ``output`` the profile is written there, and a run that was stopped goes on with the same call;
    without one nothing is kept but the value. With ``like``, profiles of other devices, a few networks are
    timed and their tables carried over.

    Raises:
        InputError: an invalid space, size, provider, thread count or output; nothing is timed.
        TargetError: the target cannot be reached or used.
    """
    with temporary_folder() as folder, shown("profiling", progress) as update:
        request = ProfileRequest(
            space=space_name(space),
            output=folder / "profile.json" if output is None else Path(output),
            threads=threads,
            image_sizes=image_sizes,
            provider=provider if ":" in provider else on_runtime(runtime, provider),
            provider_options=dict(provider_options or {}),
            quick=quick,
            seed=seed,
            force=force,
            fresh=fresh,
            precision=precision,
            int8_for=int8_for,
            like=like,
            allow_unstable=allow_unstable,
        )
        if target is None:
            return profile_here(request, update)
        return profile_target(request, target, ssh_options=ssh_options, progress=update)


def refresh_profile(
    profile: GivenPath,
    *,
    target: str | None = None,
    ssh_options: Sequence[str] = (),
    allow_unstable: bool = False,
    progress: Progress | None = None,
) -> Refreshed:
    """Check a device's speed in some seconds, here or at ``target``, and bring its profile's file up to date.

    Raises as the workflow behind ``deploy-nas profile --refresh``.
    """
    with shown("checking the speed", progress) as update:
        return refresh(
            Path(profile),
            target=target,
            ssh_options=ssh_options,
            allow_unstable=allow_unstable,
            progress=update,
        )


def search(
    profile: Profiles,
    *,
    max_latency_ms: Bounds | None = None,
    max_macs_millions: float | None = None,
    max_params_millions: float | None = None,
    max_peak_memory_kb: float | None = None,
    max_model_mb: float | None = None,
    figures: Mapping[str, OwnFigure] | None = None,
    budgets: Mapping[str, float] | None = None,
    bytes_per_element: int = 1,
    predictor: GivenPredictor | None = None,
    space: GivenSpace | None = None,
    anchors: Sequence[str] = (),
    confidence: float | None = DEFAULT_CONFIDENCE,
    margin: str | None = None,
    image_sizes: Sequence[int] | None = None,
    population: int = int(DEFAULT_HYPER["population_size"]),
    generations: int = int(DEFAULT_HYPER["max_time_budget"]),
    measure_top: int = 0,
    weights: GivenPath | None = None,
    allow_unstable: bool = False,
    seed: int = 0,
    output: GivenPath | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Found:
    """Find the most accurate subnet within budgets, as ``deploy-nas search`` does.

    Args:
        profile: of the device, or of several.
        max_latency_ms: latency budget; for several devices, one each.
        max_macs_millions: a further budget, as are ``max_params_millions``, ``max_peak_memory_kb`` and
            ``max_model_mb``.
        figures: figures of your own by name: functions of an architecture, or objects with
            ``predict_encoded``.
        budgets: upper bounds by figure, of your own figures among others.
        bytes_per_element: of activations, for the peak memory.
        predictor: a file, "pretrained", "embedded", a loaded predictor, or one of your own.
        space: folder of the trained supernet whose predictor is used.
        anchors: accuracies that you measured, ``"ARCH.json=TOP1"`` or a file of subnets.
        confidence: that the latency budget is kept; ``None``: rely on the prediction.
        margin: for a device that gets slower: "slowest-seen", or percent.
        image_sizes: to search; all that were profiled unless given.
        population: size of the search, with ``generations``.
        measure_top: export and time this many of the best here.
        weights: of the files that are timed.
        allow_unstable: use profiles and measurements of an unstable machine.
        seed: the same seed gives the same subnet.
        output: the architecture file; nothing is written without one.
        force: replace the output.
        progress: called as ``(done, total, words)``.

    Raises:
        InfeasibleBudgetError: no subnet meets the budgets; names the nearest.
        BudgetMissedError: none of the candidates that were timed does.
        InputError: unusable input.
    """
    bounds = _bounds(max_macs_millions, max_params_millions, max_peak_memory_kb, max_model_mb)
    first, request = _question(
        profile,
        max_latency_ms,
        bounds,
        budgets,
        predictor,
        space,
        SearchRequest(
            budgets={},
            confidence=confidence,
            margin=margin,
            anchors=anchors,
            figures=dict(figures or {}),
            image_sizes=image_sizes,
            bytes_per_element=bytes_per_element,
            hyper={"population_size": population, "max_time_budget": generations},
            seed=seed,
            allow_unstable=allow_unstable,
        ),
    )
    with shown("searching", progress) as update:
        return search_file(
            first,
            None if output is None else Path(output),
            request,
            measure_top=measure_top,
            weights="random" if weights is None else str(weights),
            force=force,
            progress=lambda done, total, best: update(done, total, ""),
            measuring=lambda done, total, what: update(done, total, f"and timing: {what}"),
        )


def pareto(
    profile: Profiles,
    *,
    max_latency_ms: Bounds | None = None,
    max_macs_millions: float | None = None,
    max_params_millions: float | None = None,
    max_peak_memory_kb: float | None = None,
    max_model_mb: float | None = None,
    figures: Mapping[str, OwnFigure] | None = None,
    budgets: Mapping[str, float] | None = None,
    bytes_per_element: int = 1,
    predictor: GivenPredictor | None = None,
    space: GivenSpace | None = None,
    anchors: Sequence[str] = (),
    confidence: float | None = DEFAULT_CONFIDENCE,
    margin: str | None = None,
    image_sizes: Sequence[int] | None = None,
    evaluations: int = EVALUATIONS,
    allow_unstable: bool = False,
    seed: int = 0,
    output: GivenPath | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ParetoFront:
    """Find the whole accuracy-latency front, as ``deploy-nas pareto`` does; arguments as in ``search``.

    Raises:
        InfeasibleBudgetError: no subnet meets the budgets; names the nearest.
        InputError: unusable input.
    """
    bounds = _bounds(max_macs_millions, max_params_millions, max_peak_memory_kb, max_model_mb)
    first, request = _question(
        profile,
        max_latency_ms,
        bounds,
        budgets,
        predictor,
        space,
        SearchRequest(
            budgets={},
            confidence=confidence,
            margin=margin,
            anchors=anchors,
            figures=dict(figures or {}),
            image_sizes=image_sizes,
            bytes_per_element=bytes_per_element,
            seed=seed,
            allow_unstable=allow_unstable,
        ),
    )
    with shown("searching the front", progress) as update:
        record = front_file(
            first,
            None if output is None else Path(output),
            request,
            evaluations=evaluations,
            force=force,
            progress=lambda done, total, best: update(min(done, total), total, ""),
        )
    return ParetoFront(record=record)


def _bounds(
    macs_millions: float | None,
    params_millions: float | None,
    peak_memory_kb: float | None,
    model_mb: float | None,
) -> Mapping[str, float | None]:
    """The upper bounds by the names of their figures."""
    return {
        MACS.name: macs_millions,
        PARAMS.name: params_millions,
        PEAK_MEMORY.name: peak_memory_kb,
        MODEL_SIZE.name: model_mb,
    }


def _question(
    profile: Profiles,
    max_latency_ms: Bounds | None,
    bounds: Mapping[str, float | None],
    budgets: Mapping[str, float] | None,
    predictor: GivenPredictor | None,
    space: GivenSpace | None,
    request: SearchRequest,
) -> tuple[Profile, SearchRequest]:
    """The first device's profile, and the request with devices, budgets and predictor."""
    profiles = [profile] if isinstance(profile, str | Path | Profile) else list(profile)
    limits = [] if max_latency_ms is None else max_latency_ms
    first, budget_ms, others = load_devices(profiles, [limits] if isinstance(limits, int | float) else limits)
    asked = {LATENCY.name: budget_ms, **bounds, **(budgets or {})}
    folder = None if space is None else space_name(space)
    return first, replace(
        request,
        budgets={name: bound for name, bound in asked.items() if bound is not None},
        others=others,
        predictor=predictor_source(first, predictor, folder),
    )


def explain(
    architecture: GivenArchitecture,
    profile: GivenProfile,
    *,
    predictor: GivenPredictor | None = None,
    space: GivenSpace | None = None,
    anchors: Sequence[str] = (),
    swaps: int | None = None,
) -> Explanation:
    """Which layers use the latency, and which single changes save most, as ``deploy-nas explain`` says.

    ``swaps`` are how many to keep; ``None``: all.

    Raises:
        MismatchError: an architecture of another space, or an image size that was not profiled.
        InputError: a file that cannot be used.
    """
    loaded = profile_given(profile)
    folder = None if space is None else space_name(space)
    record = architecture_given(architecture, loaded.space)
    source = predictor_source(loaded, predictor, folder)
    found = explain_subnet(loaded, predictor_for(loaded, source, anchors), record)
    return found if swaps is None else replace(found, swaps=found.swaps[:swaps])


def make_kit(
    space: GivenSpace,
    output: GivenPath,
    *,
    like: Sequence[GivenProfile] = (),
    threads: int = 1,
    image_sizes: Sequence[int] | None = None,
    runtime: str = ONNXRUNTIME,
    provider: str = "cpu",
    provider_options: Mapping[str, str] | None = None,
    precision: str = FP32,
    int8_for: str = THIS_PROCESSOR,
    quick: bool = False,
    allow_unstable: bool = False,
    seed: int = 0,
    force: bool = False,
) -> Kit:
    """Write a kit that profiles a device without deploy-nas on it, as ``deploy-nas kit make`` does.

    Raises:
        OptionError: INT8 without a named processor.
        InputError: an invalid space, size or output.
    """
    request = ProfileRequest(
        space=space_name(space),
        output=Path(output),
        threads=threads,
        image_sizes=image_sizes,
        provider=provider if ":" in provider else on_runtime(runtime, provider),
        provider_options=dict(provider_options or {}),
        quick=quick,
        seed=seed,
        force=force,
        precision=precision,
        int8_for=int8_for,
        like=like,
        allow_unstable=allow_unstable,
    )
    return Kit(path=Path(output), size_bytes=write_kit(request))


def import_kit(
    result: GivenPath,
    output: GivenPath | None = None,
    *,
    like: Sequence[GivenProfile] = (),
    force: bool = False,
) -> Profile:
    """The profile of a kit's result, written if there is an ``output``, as ``deploy-nas kit import`` does.

    Raises:
        RecordError, VersionError, MismatchError: a result that cannot be used.
    """
    with temporary_folder() as folder:
        path = folder / "profile.json" if output is None else Path(output)
        return import_result(Path(result), path, like=like, force=force)
