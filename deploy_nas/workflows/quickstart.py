"""The whole job in one call, with the embedded supernet: profile, search, export, verify, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.core.errors import OutputError
from deploy_nas.core.extras import require_supernets
from deploy_nas.core.spaces import embedded_space
from deploy_nas.deploy.export import ExportReport, export_onnx
from deploy_nas.deploy.model_file import read_model
from deploy_nas.deploy.verify import Verification
from deploy_nas.records.architecture import ArchitectureRecord, save_architecture
from deploy_nas.records.files import make_folder
from deploy_nas.records.profile import Profile
from deploy_nas.search.budgets import parse_budgets
from deploy_nas.workflows.profile import ProfileRequest, profile_device
from deploy_nas.workflows.question import LATENCY, SearchRequest, ends_ms
from deploy_nas.workflows.report import Commands, Findings, write_report
from deploy_nas.workflows.search import search
from deploy_nas.workflows.verify import verify_here

# The budget lies this far from the fastest subnet to the slowest: small enough to constrain the search.
_BUDGET_POSITION = 0.4


@dataclass(frozen=True, kw_only=True, slots=True)
class Quickstart:
    """The results of quickstart; ``stages_s`` is the time of each stage."""

    folder: Path
    profile: Profile
    record: ArchitectureRecord
    report: ExportReport
    verification: Verification
    stages_s: dict[str, float]


def quickstart(
    folder: Path,
    *,
    max_latency_ms: float | None = None,
    threads: int = 1,
    quick: bool = False,
    seed: int = 0,
    force: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
    say: Callable[[str], None] | None = None,
    commands: Callable[[Mapping[str, Path]], Commands] | None = None,
) -> Quickstart:
    """Profile this machine for the embedded space, search, export, verify and report, into one folder.

    Args:
        folder: for profile, architecture, model and report; made if missing.
        max_latency_ms: the budget; chosen from the profile unless given.
        threads: intra-op threads.
        quick: profile fewer networks: quicker, less precise.
        seed: of profile and search.
        force: replace files of an earlier run.
        progress: of the profile.
        say: called at each stage.
        commands: makes the commands that repeat it from the paths of "profile", "best", "model" and "report".

    Raises:
        OutputError: the folder cannot be made, or already holds files of a run.
    """
    require_supernets()
    say = say or (lambda line: None)
    space = embedded_space()
    make_folder(folder)
    stages: dict[str, float] = {}
    begun = time.monotonic()

    def finished(stage: str) -> None:
        nonlocal begun
        stages[stage], begun = time.monotonic() - begun, time.monotonic()

    paths = {
        n: folder / f
        for n, f in (
            ("profile", "profile.json"),
            ("best", "best.json"),
            ("model", "best.onnx"),
            ("report", "report.html"),
        )
    }
    if not force and (held := next((p for p in paths.values() if p.exists()), None)):
        raise OutputError("exists already", subject=str(held), hint="use `force`, or another `output` folder")
    if max_latency_ms is not None:
        parse_budgets({LATENCY: max_latency_ms}, [LATENCY])
    say("profile")
    profile = profile_device(
        ProfileRequest(
            space=space.id, output=paths["profile"], threads=threads, quick=quick, seed=seed, force=True
        ),
        progress,
    )
    finished("profile")
    say("search")
    if max_latency_ms is None:
        low, high = ends_ms(profile)
        max_latency_ms = float(f"{low * (high / low) ** _BUDGET_POSITION:.2g}")
    # The profile's verdict is shown; a first run on a busy machine should still give an answer.
    request = SearchRequest(budgets={LATENCY: max_latency_ms}, seed=seed, allow_unstable=True)
    predictor = load_accuracy_predictor(space, "embedded")
    record, _ = search(profile, predictor, request)
    save_architecture(record, paths["best"], force=True)
    finished("search")
    say("export")
    report = export_onnx(
        record.architecture,
        paths["model"],
        space=record.space,
        predicted=record.predicted,
        profile_id=profile.id,
        force=True,
        seed=seed,
    )
    finished("export")
    say("verify")
    verification = verify_here(read_model(paths["model"]), profile, seed=seed)
    finished("verify")
    say("report")
    write_report(
        Findings(record=record, profile=profile, predictor=predictor, verification=verification),
        paths["report"],
        commands(paths) if commands is not None else None,
        force=True,
    )
    finished("report")
    return Quickstart(
        folder=folder,
        profile=profile,
        record=record,
        report=report,
        verification=verification,
        stages_s=stages,
    )
