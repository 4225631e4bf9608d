"""``export_onnx``, ``verify``, ``make_report``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_nas.adapters import downloads
from deploy_nas.api.progress import Progress, shown
from deploy_nas.core.errors import OptionError
from deploy_nas.core.precision import THIS_PROCESSOR
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.shown import Shown
from deploy_nas.deploy.export import ExportReport, Images, promise
from deploy_nas.deploy.export import export_onnx as export_subnet
from deploy_nas.records.bundle import check_bundle_output, is_bundle
from deploy_nas.records.result import SearchRecord
from deploy_nas.report.inline import page_inline
from deploy_nas.workflows.bundle import bundle as make_bundle
from deploy_nas.workflows.demo import write_demo
from deploy_nas.workflows.export import ExportRequest, export
from deploy_nas.workflows.given import (
    GivenArchitecture,
    GivenPath,
    GivenProfile,
    GivenSpace,
    architecture_given,
    profile_given,
    space_name,
)
from deploy_nas.workflows.pareto import ParetoFront
from deploy_nas.workflows.question import GivenPredictor
from deploy_nas.workflows.report import ReportRequest, report
from deploy_nas.workflows.search import Found
from deploy_nas.workflows.verify import Verified, VerifyRequest
from deploy_nas.workflows.verify import verify as verify_models


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Page(Shown):
    """A page that was written; notebooks show it within theirs."""

    path: Path

    def _summary(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        return page_inline(self.path.read_text(encoding="utf-8"))


def export_onnx(
    arch: GivenArchitecture,
    path: GivenPath,
    *,
    weights: GivenPath | None = None,
    calibration_images: GivenPath | Images | None = None,
    calibration_limit: int = 2000,
    keep_statistics: bool = False,
    space: GivenSpace | None = None,
    predicted: Predicted | Mapping[str, object] | None = None,
    profile_id: str | None = None,
    labels: GivenPath | Sequence[str] | None = None,
    batch: int | None = 1,
    int8: bool = False,
    int8_for: str = THIS_PROCESSOR,
    images: GivenPath | None = None,
    max_accuracy_drop: float = 1.0,
    bundle: GivenPath | None = None,
    allow_unstable: bool = False,
    seed: int = 0,
    force: bool = False,
    log: Callable[[str], None] | None = None,
    progress: downloads.Progress | None = None,
) -> ExportReport:
    """Write a subnet as ONNX once its outputs match the supernet's own, as ``deploy-nas export`` does.

    Args:
        arch: a file, a dict (it or ``space`` names its space), or what ``space.sample``, a search or a front
            gives.
        path: the file to write; that of ``int8`` is beside it.
        weights: "embedded", "pretrained", "random", a checkpoint (``PATH:NAME``: one of several
            weights in it), or the folder of a trained supernet.
        calibration_images: a folder or zip, or an object with ``images``, uint8 ``[n, 3, h, w]``.
        calibration_limit: of those of a folder, at most.
        keep_statistics: take only INT8 ranges from them.
        space: of the architecture, if it does not say; or the folder of its trained supernet.
        predicted: what was predicted, instead of what ``arch`` says.
        profile_id: of the profile it comes from.
        labels: names of the classes, or a file with one per line.
        batch: fixed batch size; ``None``: dynamic.
        int8: write an INT8 file too, if it is faster and about as accurate.
        int8_for: processor to choose the number formats for.
        images: labelled images to judge INT8 or the bundle on.
        max_accuracy_drop: points of top-1 that INT8 may lose.
        bundle: folder or zip for all that a device needs.
        allow_unstable: rely on measurements of an unstable machine.
        seed: of random weights and the inputs compared.
        force: replace the outputs.
        log: called with a line at each step.
        progress: called while weights are downloaded.

    Raises:
        InputError: unusable input; raised before the slow work.
        CheckFailedError: the outputs differ, and nothing is written; or INT8 is not worth having.
    """
    record = architecture_given(arch, space if not isinstance(arch, str | Path) else None)
    if predicted is not None or profile_id is not None:
        said = promise(predicted) if predicted is not None else record.predicted
        record = replace(record, predicted=replace(said, profile=profile_id or said.profile))
    if batch not in (None, 1) or not isinstance(calibration_images, str | Path | None):
        if int8 or bundle is not None:
            raise OptionError(
                "need images as a folder or zip, and a batch of 1 or None", subject="int8, bundle"
            )
        return export_subnet(
            record.architecture,
            path,
            weights=weights,
            calibration_images=_loaded(calibration_images),
            space=record.space,
            predicted=record.predicted,
            labels=_names(labels),
            batch=batch,
            force=force,
            seed=seed,
            log=log,
            progress=progress,
        )
    if bundle is not None:
        check_bundle_output(Path(bundle), force=force)
    request = ExportRequest(
        architecture=record,
        output=Path(path),
        weights=None if weights is None else str(weights),
        space=None if space is None else space_name(space),
        calibration_images=None if calibration_images is None else Path(calibration_images),
        calibration_limit=calibration_limit,
        keep_statistics=keep_statistics,
        labels=Path(labels) if isinstance(labels, str | Path) else labels,
        dynamic_batch=batch is None,
        seed=seed,
        force=force,
        int8=int8,
        images=None if images is None else Path(images),
        max_accuracy_drop=max_accuracy_drop,
        int8_for=int8_for,
        allow_unstable=allow_unstable,
        bundle=None if bundle is None else Path(bundle),
    )
    exported = export(request, log, progress=progress)
    manifest = None
    if bundle is not None:
        bundled = make_bundle(request, exported, Path(bundle), log)
        exported, manifest = bundled.exported, bundled.manifest
    return replace(exported.report, int8=exported.quantized, bundle=manifest)


def _loaded(images: GivenPath | Images | None) -> Images | None:
    if isinstance(images, str | Path):
        raise OptionError("as a folder need a batch of 1 or None", subject="calibration_images")
    return images


def _names(labels: GivenPath | Sequence[str] | None) -> Sequence[str] | None:
    if isinstance(labels, str | Path):
        raise OptionError("must be a list of names here", subject="labels")
    return labels


def verify(
    model: GivenPath,
    profile: GivenProfile | None = None,
    *,
    max_latency_ms: float | None = None,
    threads: int | None = None,
    target: str | None = None,
    ssh_options: Sequence[str] = (),
    images: GivenPath | None = None,
    every_ms: float | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Measure an exported file and compare with its prediction and budget, as ``deploy-nas verify`` does.

    Whether the budget was kept is in ``verification.within_budget``; missing it raises nothing.

    Args:
        model: the file; of a bundle, :func:`verify_bundle` measures every model.
        profile: to compare with; the prediction in the file unless given.
        max_latency_ms: the budget; the file's own unless given.
        threads: intra-op threads; the profile's unless given.
        target: device to measure on; this process unless given.
        ssh_options: for ssh and scp.
        images: folder or zip of class folders to measure top-1 on, here.
        every_ms: measure at this pace too, a run every so many ms.
        progress: called as ``(done, total, words)``.

    Raises:
        MismatchError: a file that was changed, or a profile that does not fit.
        InputError: unusable input.
        CheckFailedError: logits on the device that differ from those here.
    """
    if is_bundle(Path(model)):
        raise OptionError(
            "is a bundle, which may hold several models", subject=str(model), hint="use verify_bundle"
        )
    request = VerifyRequest(
        path=Path(model),
        profile=profile,
        max_latency_ms=max_latency_ms,
        threads=threads,
        target=target,
        ssh_options=ssh_options,
        images=None if images is None else Path(images),
        every_ms=every_ms,
    )
    with shown("measuring", progress) as update:
        return verify_models(request, update)[0]


def verify_bundle(
    bundle: GivenPath,
    profile: GivenProfile | None = None,
    *,
    max_latency_ms: float | None = None,
    threads: int | None = None,
    target: str | None = None,
    ssh_options: Sequence[str] = (),
    every_ms: float | None = None,
    progress: Progress | None = None,
) -> list[Verified]:
    """Measure each model of a bundle; arguments and errors as in :func:`verify`."""
    request = VerifyRequest(
        path=Path(bundle),
        profile=profile,
        max_latency_ms=max_latency_ms,
        threads=threads,
        target=target,
        ssh_options=ssh_options,
        every_ms=every_ms,
    )
    with shown("measuring", progress) as update:
        return verify_models(request, update)


def make_demo(model: GivenPath, output: GivenPath, *, force: bool = False) -> Page:
    """Write a page that classifies pictures in a browser, as ``deploy-nas demo`` does.

    Raises:
        ProviderError: onnxruntime-web is missing.
        InputError: a file that cannot be used.
    """
    write_demo(Path(model), Path(output), force=force)
    return Page(path=Path(output))


def make_report(
    architecture: GivenArchitecture,
    profile: GivenProfile,
    output: GivenPath,
    *,
    model: GivenPath | None = None,
    images: GivenPath | None = None,
    front: GivenPath | ParetoFront | None = None,
    result: GivenPath | None = None,
    space: GivenSpace | None = None,
    predictor: GivenPredictor | None = None,
    anchors: Sequence[str] = (),
    force: bool = False,
) -> Page:
    """Write one self-contained HTML page about a subnet, as ``deploy-nas report`` does.

    ``architecture`` may be the result of :func:`search`, which then need not be written; arguments as options
    of the command.

    Raises:
        OptionError: images without a model.
        InputError: a file that cannot be used.
    """
    loaded = profile_given(profile)
    said: Path | SearchRecord | None = None if result is None else Path(result)
    if said is None and isinstance(architecture, Found):
        said, predictor = architecture.result, predictor or architecture.predictor
    request = ReportRequest(
        architecture=_kept(architecture, loaded.space),
        profile=loaded,
        output=Path(output),
        front=front.record if isinstance(front, ParetoFront) else None if front is None else Path(front),
        result=said,
        model=None if model is None else Path(model),
        images=None if images is None else Path(images),
        predictor=predictor,
        space=None if space is None else space_name(space),
        anchors=anchors,
        force=force,
    )
    report(request)
    return Page(path=Path(output))


def _kept(architecture: GivenArchitecture, space: GivenSpace) -> GivenArchitecture:
    """A file as a file, for the result beside it; anything else as its record."""
    return architecture if isinstance(architecture, str | Path) else architecture_given(architecture, space)
