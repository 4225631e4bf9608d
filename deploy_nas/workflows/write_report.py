"""Gather what is known of a subnet found, and write the report's page."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import deploy_nas
from deploy_nas.accuracy.predictor import AccuracyPredictor
from deploy_nas.core.errors import MismatchError
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.files import check_output, read_bytes, write_atomic
from deploy_nas.records.profile import Profile
from deploy_nas.records.result import SearchRecord
from deploy_nas.report.page import Point, ReportData, block_of, render_report, slots_by_stage
from deploy_nas.workflows.explain_subnet import explain, shares
from deploy_nas.workflows.question import DEFAULT_CONFIDENCE, LATENCY, SearchRequest
from deploy_nas.workflows.report_facts import (
    budgets_of,
    commands_for,
    facts_of,
    profile_facts,
    threads_of,
    warnings_about,
)

if TYPE_CHECKING:
    from deploy_nas.deploy.verify import Verification

_FRONT_POINTS, _CLOUD, _SWAPS = 60, 500, 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRequest:
    """What to report on, and what is known beside its prediction.

    Args:
        record: the subnet.
        profile: of its device.
        predictor: of its accuracy.
        front: other subnets; ``None``: found now.
        result: of the search that found it, for the candidates it timed.
        verification: of the exported file.
        commands: that lead here.
    """

    record: ArchitectureRecord
    profile: Profile
    predictor: AccuracyPredictor
    front: SearchRecord | None = None
    result: SearchRecord | None = None
    verification: Verification | None = None
    commands: Sequence[str] = ()


def write_report(request: ReportRequest, output: Path, *, force: bool = False) -> None:
    """Write the page.

    Raises:
        MismatchError: record, front or result of another space than the profile's.
        OutputError: it cannot be written, or is there already.
    """
    check_output(output, force=force)
    for name, space in (
        ("architecture", request.record.space),
        *((("front", request.front.space),) if request.front else ()),
        *((("result", request.result.space),) if request.result else ()),
    ):
        if space.id != request.profile.space.id:
            raise MismatchError(
                f"is of space {space.id}, the profile of {request.profile.space.id}", subject=name
            )
    write_atomic(output, render_report(report_data(request)).encode(), force=force)


def report_data(request: ReportRequest) -> ReportData:
    """All that the page shows, as plain values."""
    profile, predictor, record = request.profile, request.predictor, request.record
    verified = request.verification
    winner = _point(request, record, "the subnet reported on")
    measured_ms = verified.measured.latency_ms if verified else _timed_before(request)
    winner = replace(winner, measured_ms=measured_ms)
    first, budgets = budgets_of(record, profile)
    foreign = profile.id not in budgets
    budget_ms = verified.budget_ms if verified and first else budgets.get(profile.id)
    verdict = ""
    if budget_ms is not None and measured_ms is not None:
        verdict = "kept" if measured_ms <= budget_ms else "MISSED"
    front = request.front or _front_now(request)
    chosen = [c.record for c in front.candidates]
    keep = sorted({round(i) for i in np.linspace(0, len(chosen) - 1, min(_FRONT_POINTS, len(chosen)))})
    explained = explain(profile, predictor, record)
    unit = 100.0 if predictor.unit == "fraction" else 1.0
    f = profile.fingerprint
    return ReportData(
        title=f"{profile.space.id} on {f['cpu']}",
        subtitle=f"{profile.space.summary}; {threads_of(profile)}, batch 1, {f['precision']}",
        winner=winner,
        budget_ms=budget_ms,
        verdict=verdict,
        front=[_point(request, chosen[i], f"point {n + 1} of the front") for n, i in enumerate(keep)],
        cloud=_cloud(profile, predictor),
        pairs=[
            (p.predicted_ms, p.measured_ms, f"held-out network {n + 1}, {p.image_size} px")
            for n, p in enumerate(profile.pairs)
        ],
        timed=_timed(request, winner),
        facts=facts_of(record, winner, budget_ms, verdict),
        profile_facts=profile_facts(profile),
        warnings=warnings_about(profile, verified, verdict, foreign=foreign),
        swaps=[(s.what, s.saved_ms, -unit * s.lost) for s in explained.swaps[:_SWAPS]],
        versions=[
            ("deploy-nas", deploy_nas.__version__),
            ("profile", profile.id),
            ("profiled with onnxruntime", str(f["onnxruntime"])),
            ("numpy", np.__version__),
            ("Python", platform.python_version()),
        ],
        commands=request.commands,
        accuracy_note=predictor.note,
        max_slots=slots_by_stage(profile.space),
    )


def _front_now(request: ReportRequest) -> SearchRecord:
    from deploy_nas.workflows.find_front import find_front

    seed = int(request.record.predicted.get("seed", 0))
    asked = SearchRequest(budgets={}, seed=seed, allow_unstable=True)
    return find_front(request.profile, request.predictor, asked, evaluations=60_000)[0]


def _point(request: ReportRequest, record: ArchitectureRecord, name: str) -> Point:
    """Predicted anew from this profile, so that every point means the same."""
    from deploy_nas.search.efficiency import AnalyticalEfficiencyPredictor

    profile = request.profile
    layers, total = shares(profile, record)
    encoded = profile.space.encode([record.architecture])
    figures = AnalyticalEfficiencyPredictor(profile.space).get_efficiency_batch(encoded)
    named = dict(profile.space.layers(record.architecture))
    blocks = [block_of(s.place, named[s.place], s.latency_ms) for s in layers if s.place in named]
    blocks += [
        replace(blocks[0], place=s.place, kind="run", key="", latency_ms=s.latency_ms, kernel=0, middle=0)
        for s in layers
        if s.place not in named
    ]
    bound = total * profile.upper_ratio(_confidence(record)) if profile.validated else None
    return Point(
        name=name,
        latency_ms=round(total, 6),
        bound_ms=None if bound is None else round(bound, 6),
        top1=round(float(request.predictor.percent_encoded(encoded)[0]), 4),
        image_size=int(record.architecture["image_size"]),
        macs=round(float(figures["millionMACs"][0]), 3),
        params=round(float(figures["params_million"][0]), 4),
        architecture=record.architecture,
        blocks=blocks,
    )


def _confidence(record: ArchitectureRecord) -> float:
    level = record.predicted.get("confidence")
    return float(level) if isinstance(level, int | float) and 0 < level < 1 else DEFAULT_CONFIDENCE


def _timed_before(request: ReportRequest) -> float | None:
    """What the search itself measured of the subnet."""
    for candidate in request.result.candidates if request.result else ():
        if candidate.measured and candidate.record.architecture == request.record.architecture:
            return float(candidate.measured["latency_ms"])
    return None


def _timed(request: ReportRequest, winner: Point) -> list[tuple[float, float, str]]:
    rows = [
        (float(c.record.predicted["latency_ms"]), float(c.measured["latency_ms"]), f"candidate {n + 1}")
        for n, c in enumerate(request.result.candidates if request.result else ())
        if c.measured and c.record.architecture != winner.architecture
    ]
    if winner.measured_ms is not None:
        rows.append((winner.latency_ms, winner.measured_ms, winner.name))
    return rows


def _cloud(profile: Profile, predictor: AccuracyPredictor) -> list[tuple[float, float]]:
    nets = profile.space.sample_encoded(np.random.default_rng(0), _CLOUD, profile.image_sizes)
    pairs = zip(profile.latency_ms(nets), predictor.percent_encoded(nets), strict=True)
    return [(round(float(ms), 5), round(float(top1), 3)) for ms, top1 in pairs]


def _verified(model: Path, record: ArchitectureRecord, profile: Profile) -> Verification:
    from deploy_nas.adapters.graphs import read_metadata
    from deploy_nas.deploy.claims import model_architecture
    from deploy_nas.deploy.verify import verify_model

    exported = model_architecture(read_metadata(read_bytes(model), str(model)), str(model))
    if exported.space.id != record.space.id or exported.architecture != record.architecture:
        raise MismatchError(
            "is another architecture than the one reported on", subject=str(model), hint="export it anew"
        )
    return verify_model(model, profile=profile)


def report_file(
    architecture: Path,
    profile: Path,
    output: Path,
    *,
    front: Path | None = None,
    result: Path | None = None,
    model: Path | None = None,
    predictor: str | None = None,
    anchors: Sequence[str] = (),
    force: bool = False,
) -> None:
    """Report on an architecture file.

    Args:
        architecture: what to report on.
        profile: of its device.
        output: the page.
        front: of ``deploy-nas pareto``; found now unless given.
        result: of the search; the file beside the architecture unless given.
        model: the exported file, verified on this machine first.
        predictor: as in search; the one the search took unless given.
        anchors: as in search.
        force: replace the output.

    Raises:
        InputError: for any file that is not usable.
    """
    from deploy_nas.records.architecture import load_architecture
    from deploy_nas.records.profile import load_profile
    from deploy_nas.records.result import load_result
    from deploy_nas.workflows.find_front import load_front
    from deploy_nas.workflows.question import predictor_for
    from deploy_nas.workflows.search_subnets import result_path

    check_output(output, force=force)
    record, loaded = load_architecture(architecture), load_profile(profile)
    beside = result_path(architecture)
    if result is None and beside.is_file():
        result = beside
    found = load_result(result) if result is not None else None
    if found is not None and all(c.record.architecture != record.architecture for c in found.candidates):
        found = None  # of another search, under the same name
    chosen = load_front(front) if front is not None else None
    if chosen is not None and chosen.asked.get("profiles", {}).get(LATENCY, loaded.id) != loaded.id:
        raise MismatchError(
            f"is of another profile than {loaded.id}", subject=str(front), hint="leave it out to find it anew"
        )
    source = found or (chosen if "picked" in record.predicted else None)
    asked = dict(source.asked) if source is not None else {}
    if found is not None and asked.get("profiles", {}).get(LATENCY, loaded.id) != loaded.id:
        found = None  # what it timed was another device
    accuracy = predictor_for(
        loaded, predictor or asked.get("predictor"), anchors or asked.get("anchors") or ()
    )
    verification = _verified(model, record, loaded) if model is not None else None
    paths = {
        "profile": str(profile),
        "best": str(architecture),
        "model": str(model or architecture.with_suffix(".onnx")),
        "report": str(output),
    }
    write_report(
        ReportRequest(
            record=record,
            profile=loaded,
            predictor=accuracy,
            front=chosen,
            result=found,
            verification=verification,
            commands=commands_for(record, loaded, paths=paths, asked=asked),
        ),
        output,
        force=force,
    )
