"""Gather the figures of a subnet and write its report."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deploy_nas.accuracy.own import Predicts
from deploy_nas.core.errors import MismatchError, OptionError
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.reader import name_text
from deploy_nas.core.version import __version__
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.files import check_output, write_atomic
from deploy_nas.records.profile import Profile
from deploy_nas.records.result import SEARCH, Asked, SearchRecord, load_result
from deploy_nas.records.supernet import SupernetRecord, is_supernet, load_supernet_record
from deploy_nas.report.evaluation import evaluation_shown
from deploy_nas.report.facts import facts_of, profile_facts, threads_of, top1_warnings, warnings_about
from deploy_nas.report.page import ReportData, render_report, slots_by_stage
from deploy_nas.report.training import training_shown
from deploy_nas.workflows.explain import explain
from deploy_nas.workflows.given import GivenArchitecture, GivenProfile, architecture_given, profile_given
from deploy_nas.workflows.pareto import find_front, load_front
from deploy_nas.workflows.question import (
    LATENCY,
    GivenPredictor,
    SearchRequest,
    predictor_for,
    predictor_source,
)
from deploy_nas.workflows.report_points import point_of, random_cloud, timed_before, timed_pairs
from deploy_nas.workflows.search import result_path

if TYPE_CHECKING:
    from deploy_nas.deploy.model_file import ModelFile
    from deploy_nas.deploy.verify import Verification
    from deploy_nas.records.evaluation import Evaluation

_FRONT_POINTS, _SWAPS = 60, 8

Commands = Callable[[ArchitectureRecord, Profile, Asked], Sequence[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRequest:
    """The files to report on.

    Args:
        architecture: the subnet.
        profile: of its device.
        output: the page.
        front: of ``deploy-nas pareto``; computed now unless given.
        result: of the search; the file beside the architecture unless given.
        model: the exported file, verified on this machine first.
        images: labelled images to judge ``model`` on; the supernet must not have been trained on them.
        predictor: as in search; the search's own unless given.
        anchors: as in search.
        space: folder of the trained supernet that it comes from, for its predictor and its training.
        force: replace the output.
    """

    architecture: GivenArchitecture
    profile: GivenProfile
    output: Path
    front: Path | SearchRecord | None = None
    result: Path | SearchRecord | None = None
    model: Path | None = None
    images: Path | None = None
    predictor: GivenPredictor | None = None
    anchors: Sequence[str] = ()
    space: str | None = None
    force: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """A subnet, and what is known of it besides its prediction.

    Args:
        record: the subnet.
        profile: of its device.
        predictor: of its accuracy.
        front: other subnets; ``None``: computed now.
        result: of the search that found it, for the candidates it timed.
        verification: of the exported file.
        asked: of the search or the front that it comes from.
        training: of the supernet that it comes from.
        evaluation: of the exported file on labelled images.
    """

    record: ArchitectureRecord
    profile: Profile
    predictor: Predicts
    front: SearchRecord | None = None
    result: SearchRecord | None = None
    verification: Verification | None = None
    asked: Asked = field(default_factory=Asked)
    training: SupernetRecord | None = None
    evaluation: Evaluation | None = None


def report(request: ReportRequest, commands: Commands | None = None) -> None:
    """Report on an architecture file.

    Args:
        request: what to report on.
        commands: gives the commands that repeat it.

    Raises:
        OptionError: images without a model.
        InputError: a file that cannot be used.
    """
    check_output(request.output, force=request.force)
    if request.images is not None and request.model is None:
        raise OptionError("are classified by an exported file: name `model`", subject="images")
    write_report(_gather(request), request.output, commands, force=request.force)


def _gather(request: ReportRequest) -> Findings:
    record, profile = architecture_given(request.architecture), profile_given(request.profile)
    given = request.result or _beside(request.architecture)
    result = load_result(given) if isinstance(given, Path) else given
    if result is not None and not _belongs(record, result):
        result = None  # another search wrote it under the same name
    front = load_front(request.front) if isinstance(request.front, Path) else request.front
    if front is not None and _profiled(front, profile) != profile.id:
        raise MismatchError(
            f"was made with another profile than {profile.id}",
            subject=str(request.front) if isinstance(request.front, Path) else "front",
            hint="leave it out to compute a new front",
        )
    picked = front is not None and record.predicted.picked is not None and _belongs(record, front)
    source = result or (front if picked else None)
    asked = source.asked if source is not None else Asked()
    if front is not None and not front.sealed:
        front = None  # its predictions cannot be checked: they are computed now
    if result is not None and (not result.sealed or _profiled(result, profile) != profile.id):
        result = None  # its times cannot be checked, or are of another device
    model = _model_of(request.model, record) if request.model is not None else None
    return Findings(
        record=record,
        profile=profile,
        predictor=predictor_for(
            profile,
            predictor_source(profile, request.predictor or asked.predictor, request.space),
            request.anchors or asked.anchors,
        ),
        front=front,
        result=result,
        verification=_verified(model, profile) if model is not None else None,
        asked=asked,
        training=_training_of(request.space),
        evaluation=_judged(model, request.images) if model is not None and request.images else None,
    )


def _beside(architecture: GivenArchitecture) -> Path | None:
    """The result of the search that wrote an architecture file, if it is beside it."""
    if not isinstance(architecture, str | Path):
        return None
    path = result_path(Path(architecture))
    return path if path.is_file() else None


def _belongs(record: ArchitectureRecord, found: SearchRecord) -> bool:
    """Whether a search found it: this very network, with these predictions unless it comes without any."""

    def promise(said: Predicted) -> Predicted:
        kept = said.budget_ms if found.kind == SEARCH else None  # a pick has its own
        return replace(said, measured_ms=None, picked=None, budget_ms=kept)

    return any(
        c.record.same_network(record)
        and (not record.predicted or promise(c.record.predicted) == promise(record.predicted))
        for c in found.candidates
    )


def _profiled(found: SearchRecord, profile: Profile) -> str:
    """Id of the first device's profile in the search; that of ``profile`` if the file does not say."""
    return found.asked.profiles.get(LATENCY, profile.id)


def _model_of(path: Path, record: ArchitectureRecord) -> ModelFile:
    from deploy_nas.deploy.model_file import read_model

    model = read_model(path)
    if not model.metadata.record.same_network(record):
        raise MismatchError(
            "holds another architecture than the one reported on", subject=str(path), hint="export it again"
        )
    return model


def _verified(model: ModelFile, profile: Profile) -> Verification:
    from deploy_nas.workflows.verify import verify_here

    return verify_here(model, profile)


def _judged(model: ModelFile, images: Path) -> Evaluation:
    from deploy_nas.deploy.evaluation import evaluate
    from deploy_nas.device import machine
    from deploy_nas.workflows.verify import images_for

    given = images_for(model, images)
    return evaluate(model, given, names=given.names, threads=len(machine.cores()))


def _training_of(space: str | None) -> SupernetRecord | None:
    return load_supernet_record(Path(space)) if space is not None and is_supernet(space) else None


def write_report(
    findings: Findings, output: Path, commands: Commands | None = None, *, force: bool = False
) -> None:
    """Write the page.

    Raises:
        MismatchError: record, front, result or training of another space than the profile's.
        OutputError: it cannot be written, or exists already.
    """
    check_output(output, force=force)
    space = findings.profile.space
    for name, other in (
        ("architecture", findings.record),
        ("front", findings.front),
        ("result", findings.result),
        ("training", findings.training),
    ):
        if other is not None and other.space.id != space.id:
            raise MismatchError(f"is of space {other.space.id}, the profile of {space.id}", subject=name)
    said = commands(findings.record, findings.profile, findings.asked) if commands is not None else ()
    write_atomic(output, name_text(render_report(report_data(findings, said))).encode(), force=force)


def report_data(findings: Findings, commands: Sequence[str] = ()) -> ReportData:
    """The content of the page as plain values."""
    profile, predictor, record = findings.profile, findings.predictor, findings.record
    verified = findings.verification
    measured_ms = verified.measured.latency_ms if verified else timed_before(record, findings.result)
    winner = point_of(profile, predictor, record, "the subnet reported on")
    winner = replace(winner, measured_ms=measured_ms)
    budgets = latency_budgets(record, profile)
    budget_ms = budgets.get(profile.id)
    if verified is not None and searched_here(record, profile):
        budget_ms = verified.budget_ms
    verdict = ""
    if budget_ms is not None and measured_ms is not None:
        verdict = "kept" if measured_ms <= budget_ms else "MISSED"
    evaluation, training = findings.evaluation, findings.training
    top1 = evaluation.top1 if evaluation is not None else None
    front = findings.front or _front_now(findings)
    chosen = [c.record for c in front.candidates]
    keep = sorted({round(i) for i in np.linspace(0, len(chosen) - 1, min(_FRONT_POINTS, len(chosen)))})
    explained = explain(profile, predictor, record)
    points = 100.0 if predictor.unit == "fraction" else 1.0
    on = profile.fingerprint
    return ReportData(
        title=f"{profile.space.id} on {on.cpu}",
        subtitle=f"{profile.space.summary}; {threads_of(profile)}, batch 1, {on.precision}",
        winner=winner,
        budget_ms=budget_ms,
        front=[
            point_of(profile, predictor, chosen[i], f"point {n + 1} of the front") for n, i in enumerate(keep)
        ],
        cloud=random_cloud(profile, predictor),
        pairs=[
            (p.predicted_ms, p.measured_ms, f"held-out network {n + 1}, {p.image_size} px")
            for n, p in enumerate(profile.pairs)
        ],
        timed=timed_pairs(record, findings.result, winner),
        facts=facts_of(winner, budget_ms, verdict, top1),
        profile_facts=profile_facts(profile),
        warnings=[
            *warnings_about(
                profile,
                verdict,
                speed=verified.speed if verified else None,
                differences=verified.differences if verified else (),
                faults=verified.faults if verified else (),
                foreign=profile.id not in budgets,
            ),
            *top1_warnings(winner.top1, top1),
        ],
        swaps=[(s.what, s.saved_ms, -points * s.lost) for s in explained.swaps[:_SWAPS]],
        versions=[
            ("deploy-nas", __version__),
            ("profile", profile.id),
            (f"profiled with {on.runtime}", on.runtime_version),
            ("numpy", np.__version__),
            ("Python", platform.python_version()),
        ],
        commands=commands,
        accuracy_note=predictor.note,
        max_slots=slots_by_stage(profile.space),
        training=training_shown(training) if training is not None else None,
        evaluation=evaluation_shown(evaluation, _trained_on(training)) if evaluation is not None else None,
    )


def _trained_on(training: SupernetRecord | None) -> dict[str, int]:
    """Number of training images by class."""
    return dict(zip(training.labels, training.images.counts, strict=True)) if training is not None else {}


def searched_here(record: ArchitectureRecord, profile: Profile) -> bool:
    """True if the subnet was searched for with this profile first, or with an unknown one."""
    return record.predicted.profile in (None, profile.id)


def latency_budgets(record: ArchitectureRecord, profile: Profile) -> dict[str, float | None]:
    """A subnet's latency budgets by the id of their profile."""
    said = record.predicted
    budgets = {other.profile: other.budget_ms for other in said.others if other.profile is not None}
    return {**budgets, said.profile or profile.id: said.budget_ms}


def _front_now(findings: Findings) -> SearchRecord:
    asked = SearchRequest(budgets={}, seed=findings.record.predicted.seed or 0, allow_unstable=True)
    return find_front(findings.profile, findings.predictor, asked, evaluations=60_000)[0]
