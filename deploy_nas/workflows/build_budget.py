"""The stages of a build for one latency budget: search, fine-tune, export, verify, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.adapters.images import load_images
from deploy_nas.core.errors import CheckFailedError, ProviderError
from deploy_nas.core.measured import Top1
from deploy_nas.core.precision import FP32, INT8
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.shown import Shown
from deploy_nas.deploy.bundle import make_bundle
from deploy_nas.deploy.evaluation import evaluate
from deploy_nas.deploy.export import export_onnx
from deploy_nas.deploy.model_file import read_model
from deploy_nas.deploy.quantize import quantize_model
from deploy_nas.deploy.top1 import measure_top1
from deploy_nas.deploy.verify import Verification
from deploy_nas.device import machine
from deploy_nas.records.architecture import ArchitectureRecord, load_architecture
from deploy_nas.records.build import BuildRecord, BuiltModel, Tuned, load_build, save_build
from deploy_nas.records.files import make_folder
from deploy_nas.records.profile import Profile
from deploy_nas.records.result import load_result
from deploy_nas.records.supernet import supernet_space
from deploy_nas.workflows.bundle import certify_files
from deploy_nas.workflows.finetune import FinetuneRequest, finetune_on
from deploy_nas.workflows.given import GivenProfile
from deploy_nas.workflows.question import LATENCY, SearchRequest
from deploy_nas.workflows.report import Commands, Findings, write_report
from deploy_nas.workflows.search import result_path, search_file
from deploy_nas.workflows.stages import Log, Progress
from deploy_nas.workflows.train import Trained, TrainRequest
from deploy_nas.workflows.training_images import TrainingImages
from deploy_nas.workflows.verify import VerifyRequest, verify

PROFILE, BUILD = "profile.json", "build.json"
_MEASURED = 8
_CALIBRATION = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRequest:
    """A build to do.

    Args:
        output: folder for everything.
        training: of the supernet; its ``output`` is the folder ``supernet`` in it.
        budgets_ms: latency budgets, each with a network of its own; empty: half of the largest subnet's.
        profile: of the device; this one is profiled unless given.
        target: address of the device of that profile, to measure the files on; ``None``: they are measured if
            it is this machine.
        ssh_options: for a target by ssh.
        threads: intra-op threads of a profile that is made.
        quick: profile fewer networks: quicker, less precise.
        finetune_epochs: of the winners; 0: they are not fine-tuned.
        int8: whether INT8 is tried.
        max_accuracy_drop: points of top-1 that INT8 may lose.
        test: labelled images that are used for nothing but the last word.
        allow_unstable: certify what was measured on an unstable machine too.
        seed: of everything random.
    """

    output: Path
    training: TrainRequest
    budgets_ms: Sequence[float] = ()
    profile: GivenProfile | None = None
    target: str | None = None
    ssh_options: Sequence[str] = ()
    threads: int = 1
    quick: bool = False
    finetune_epochs: float = 4.0
    int8: bool = True
    max_accuracy_drop: float = 1.0
    test: Path | None = None
    allow_unstable: bool = False
    seed: int = 0

    @property
    def profile_path(self) -> Path:
        """The file of the given profile, else the one in ``output``."""
        given = self.profile
        return Path(given) if isinstance(given, str | Path) else self.output / PROFILE


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Built(Shown):
    """The outcome for one budget."""

    folder: Path
    architecture: ArchitectureRecord
    record: BuildRecord

    def _summary(self) -> str:
        kept = {True: "kept", False: "MISSED", None: "unknown"}[self.within_budget]
        return f"{self.folder}, budget {self.record.budget_ms:g} ms {kept}, {self.architecture._summary()}"

    @property
    def within_budget(self) -> bool | None:
        """Whether the file to be used keeps the budget; ``None``: it was not measured on its device."""
        return self.record.models[-1].within_budget


class BudgetStages:
    """The stages for one budget."""

    def __init__(
        self,
        request: BuildRequest,
        trained: Trained,
        profile: Profile,
        budget_ms: float,
        say: Log,
        said: Progress,
    ) -> None:
        self.request, self.trained, self.profile, self.budget_ms = request, trained, profile, budget_ms
        self.say, self.said = say, said
        self.space = supernet_space(trained.folder)
        self.folder = request.output / f"{budget_ms:g}ms"
        make_folder(self.folder)
        self.images: TrainingImages = trained.images
        self.record = self._begin()

    def _begin(self) -> BuildRecord:
        """The record, with what an earlier run of the same question did."""
        held = self.trained.record
        new = BuildRecord(
            space=self.space.id,
            budget_ms=self.budget_ms,
            profile=self.profile.id,
            weights_sha256=held.weights_sha256,
            predictor_sha256=held.predictor_sha256,
            seed=self.request.seed,
            finetune_epochs=self.request.finetune_epochs,
            int8=self.request.max_accuracy_drop if self.request.int8 else None,
            test=None if self.request.test is None else str(self.request.test),
        )
        path = self.folder / BUILD
        if path.is_file():
            new = load_build(path).going_on(new)
        save_build(new, path)
        return new

    def _finish(self, stage: str, begun: float, **changes: object) -> None:
        stages = {**self.record.stages_s, stage: round(time.monotonic() - begun, 1)}
        self.record = replace(self.record, stages_s=stages, **changes)  # type: ignore[arg-type]
        save_build(self.record, self.folder / BUILD)

    def build(
        self, before_s: Mapping[str, float], commands: Callable[[Mapping[str, Path]], Commands] | None
    ) -> Built:
        """All stages that are left."""
        best = self.folder / "best.json"
        done = self.record.promised_percent is not None and best.is_file()
        architecture = load_architecture(best) if done else None
        if architecture is None or not architecture.predicted:  # those of an older file cannot be checked
            self._search(best)
            architecture = load_architecture(best)
        if self.record.tuned is None and self.request.finetune_epochs > 0:
            self._finetune(architecture)
        if not self.record.models:
            self.record = replace(self.record, stages_s={**before_s, **self.record.stages_s})
            architecture, verification = self._export(architecture)
            self._report(architecture, verification, commands)
        return Built(folder=self.folder, architecture=load_architecture(best), record=self.record)

    def _search(self, best: Path) -> None:
        begun = time.monotonic()
        self.say(f"search: the most accurate subnet within {self.budget_ms:g} ms")

        def on_timed(done: int, total: int, what: str) -> None:
            self.said("timing candidates", done, total, None)

        asked = SearchRequest(
            budgets={LATENCY: self.budget_ms},
            predictor=str(self.trained.folder),
            seed=self.request.seed,
            allow_unstable=True,
        )
        here = self._is_here() and self.profile.fingerprint.precision == FP32
        found = search_file(
            self.profile,
            best,
            asked,
            measure_top=_MEASURED if here else 0,
            weights="random",
            force=True,
            measuring=on_timed,
        )
        self._finish(
            "search", begun, promised_percent=found.record.predicted.accuracy_percent, tuned=None, models=()
        )

    def _is_here(self) -> bool:
        """Whether the profile is of this machine, so that candidates and files can be timed on it."""
        try:
            here = machine.fingerprint_like(self.profile.fingerprint)
        except ProviderError:  # this machine lacks its runtime
            return False
        return not self.profile.differences(here)

    def _finetune(self, winner: ArchitectureRecord) -> None:
        begun = time.monotonic()
        self.say("finetune: the winner alone, taught by the largest subnet")
        training = self.request.training
        asked = FinetuneRequest(
            architecture=self.folder / "best.json",
            space=self.trained.folder,
            images=training.images,
            output=self._tuned_path,
            epochs=self.request.finetune_epochs,
            batch_size=training.batch_size,
            flip=training.flip,
            device=training.device,
            seed=self.request.seed,
            force=True,
        )
        done = finetune_on(asked, self.space, winner.architecture, self.images, progress=self.said)
        tuned = Tuned(before=done.before, after=done.after, kept=done.weights is not None)
        self._finish("finetune", begun, tuned=tuned)

    @property
    def _tuned_path(self) -> Path:
        return self.folder / "tuned.safetensors"

    @property
    def _weights(self) -> Path | None:
        """The fine-tuned weights if they are better; ``None``: the supernet's."""
        tuned = self.record.tuned
        return self._tuned_path if tuned is not None and tuned.kept else None

    def _export(self, winner: ArchitectureRecord) -> tuple[ArchitectureRecord, Verification]:
        """Export, quantise, verify and bundle; returns the winner as promised, its fp32 file as verified."""
        begun = time.monotonic()
        self.say("export: fp32, checked against PyTorch" + (", and INT8" if self.request.int8 else ""))
        predicted = self._promise(winner.predicted)
        path, int8_path = self.folder / "best.onnx", self.folder / "best.int8.onnx"
        export_onnx(
            winner.architecture,
            path,
            space=self.space,
            weights=self._weights,
            predicted=predicted,
            profile_id=self.profile.id,
            force=True,
            seed=self.request.seed,
        )
        int8_path.unlink(missing_ok=True)
        validation = self.images.validation.by_size[winner.image_size]
        known: list[tuple[Path, Top1]] = []
        no_int8 = ""
        if self.request.int8:
            few = np.random.default_rng(self.request.seed).permutation(len(self.images.training))
            try:
                made = quantize_model(
                    read_model(path),
                    int8_path,
                    self.images.training.take(few[:_CALIBRATION]),
                    held_out=validation,
                    max_drop_points=self.request.max_accuracy_drop,
                    allow_unstable=self.request.allow_unstable,
                    force=True,
                    seed=self.request.seed,
                )
            except CheckFailedError as error:
                no_int8 = error.message
            else:
                assert made.float_top1 is not None  # noqa: S101 - there are held-out images
                assert made.int8_top1 is not None  # noqa: S101
                known = [(path, made.float_top1), (int8_path, made.int8_top1)]
        known = known or [(path, measure_top1(read_model(path), validation))]
        self._finish("export", begun, no_int8=no_int8)
        begun = time.monotonic()
        certified = certify_files(
            known, profile=self.profile, allow_unstable=self.request.allow_unstable, log=self.say
        )
        make_bundle([one.model for one in certified], self.folder / "bundle", force=True)
        test = None
        if self.request.test is not None:
            test = load_images(self.request.test, size=winner.image_size)
        models = []
        for (file, top1), one in zip(known, certified, strict=True):
            found = self._on_its_device(file, one.verification)
            int8 = one.model.metadata.precision == INT8
            measured_ms = None if found is None else found.measured.latency_ms
            models.append(
                BuiltModel(
                    file=file.name,
                    precision=one.model.metadata.precision,
                    predicted_ms=None if int8 else winner.predicted.latency_ms,
                    measured_ms=measured_ms,
                    within_budget=None if measured_ms is None else measured_ms <= self.budget_ms,
                    validation=top1,
                    test=None if test is None else measure_top1(one.model, test),
                    speed=None if found is None else found.speed,
                    faults=() if found is None else found.faults,
                )
            )
        self._finish("verify", begun, models=tuple(models))
        return replace(winner, predicted=predicted), certified[0].verification

    def _on_its_device(self, file: Path, here: Verification) -> Verification | None:
        """A file as measured on the device of the profile; ``None`` if that cannot be reached."""
        if self.request.target is not None:
            asked = VerifyRequest(path=file, target=self.request.target, ssh_options=self.request.ssh_options)
            return verify(asked)[0].verification
        return here if self._is_here() else None

    def _promise(self, predicted: Predicted) -> Predicted:
        """The prediction for the file: what fine-tuning measured replaces what the search predicted."""
        tuned = self.record.tuned
        if tuned is None or not tuned.kept:
            return predicted
        low, high = tuned.after.interval_percent
        note = (
            f"measured on {tuned.after.images} validation images after fine-tuning, "
            f"95% interval {low:.1f} to {high:.1f}%"
        )
        return replace(
            predicted,
            accuracy=round(tuned.after.percent, 4),
            accuracy_unit="percent",
            accuracy_spread=None,
            accuracy_note=note,
        )

    def _report(
        self,
        winner: ArchitectureRecord,
        verification: Verification,
        commands: Callable[[Mapping[str, Path]], Commands] | None,
    ) -> None:
        begun = time.monotonic()
        paths = {
            "profile": self.request.profile_path,
            "space": self.trained.folder,
            **({} if self._weights is None else {"weights": self._weights}),
            "best": self.folder / "best.json",
            "model": self.folder / "best.onnx",
            "report": self.folder / "report.html",
        }
        model = read_model(paths["model"])
        judged = self.images.validation.by_size[winner.image_size]
        result = load_result(result_path(paths["best"]))
        findings = Findings(
            record=winner,
            profile=self.profile,
            predictor=load_accuracy_predictor(self.profile.space, self.trained.folder),
            result=result,
            verification=verification,
            asked=result.asked,
            training=self.trained.record,
            evaluation=evaluate(model, judged, names=judged.names),
        )
        write_report(findings, paths["report"], commands(paths) if commands is not None else None, force=True)
        self._finish("report", begun)
