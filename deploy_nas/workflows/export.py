"""Export an architecture file as ONNX, in fp32 and on request in INT8."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deploy_nas.adapters import downloads
from deploy_nas.adapters.images import ImageSet, ReadingReport, load_images
from deploy_nas.core.errors import DeployNASError, ImagesError, OptionError
from deploy_nas.core.extras import require_supernets
from deploy_nas.core.precision import INT8, THIS_PROCESSOR
from deploy_nas.core.reader import text_of
from deploy_nas.deploy.export import ExportReport, class_names, export_onnx
from deploy_nas.deploy.model_file import read_model
from deploy_nas.deploy.quantize import QuantizeReport, quantize_model
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.files import check_output, read_bytes
from deploy_nas.records.supernet import is_supernet, of_same_id, space_named
from deploy_nas.workflows.given import GivenArchitecture, architecture_given

_MOST_LABEL_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRequest:
    """An export to make; ``weights`` as :func:`deploy_nas.export_onnx` takes them.

    ``space`` is the folder of a trained supernet, for weights and labels; ``bundle`` the place where a bundle
    of the files is made afterwards (``workflows.bundle``).
    """

    architecture: GivenArchitecture
    output: Path
    weights: str | None = None
    space: str | None = None
    calibration_images: Path | None = None
    calibration_limit: int = 2000
    keep_statistics: bool = False
    labels: Path | Sequence[str] | None = None
    dynamic_batch: bool = False
    seed: int = 0
    force: bool = False
    int8: bool = False
    images: Path | None = None
    max_accuracy_drop: float = 1.0
    int8_for: str = THIS_PROCESSOR
    allow_unstable: bool = False
    bundle: Path | None = None

    @property
    def int8_output(self) -> Path:
        """The path of the INT8 file: beside the fp32 one."""
        return self.output.with_suffix(f".int8{self.output.suffix or '.onnx'}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """The files that an export wrote, as they are now.

    Args:
        report: of the fp32 file.
        quantized: of the INT8 file; ``None`` where none was asked for.
    """

    report: ExportReport
    quantized: QuantizeReport | None = None


def export(
    request: ExportRequest,
    log: Callable[[str], None] | None = None,
    *,
    exported: Callable[[ExportReport], None] | None = None,
    progress: downloads.Progress | None = None,
) -> Exported:
    """Write one architecture file's subnet as ONNX, and in INT8 if requested.

    Top-1 of INT8 is measured on ``request.images``; without them, on every fifth calibration image if those
    are in class folders of the model.

    Args:
        request: what to export.
        log: called with a line at each step.
        exported: called with the fp32 file's report before INT8 begins.
        progress: called while weights are downloaded.

    Raises:
        InputError: unusable input; nothing is written.
        CheckFailedError: the outputs differ from ofa's, and nothing is written; or INT8 is slower or loses
            too much accuracy, and only the fp32 file is written.
    """
    require_supernets()
    record = architecture_given(request.architecture)
    folder = request.space
    if folder is None and request.weights is not None and is_supernet(request.weights):
        folder = request.weights
    asked, record = record, _in_space(record, folder)
    if asked.predicted and not record.predicted and log is not None:
        log(f"the predictions are of {asked.space.classes} classes: left out")
    again = _was_killed(request, record)
    check_output(request.output, force=request.force or again)
    if request.int8:
        check_output(request.int8_output, force=request.force or again)
    labels = _labels(request.labels) if request.labels is not None else None
    given = _images(request, record, class_names(record.space, labels))
    report = export_onnx(
        record.architecture,
        request.output,
        space=record.space,
        weights=request.weights,
        calibration_images=None if request.keep_statistics else given.calibration,
        predicted=record.predicted,
        labels=labels,
        batch=None if request.dynamic_batch else 1,
        force=request.force,
        again=again,
        seed=request.seed,
        log=log,
        progress=progress,
    )
    report = replace(report, readings=given.readings)
    if exported is not None:
        exported(report)
    if not request.int8:
        return Exported(report=report)
    if request.force:
        request.int8_output.unlink(missing_ok=True)  # it may be of another network
    assert given.calibration is not None  # noqa: S101 - _images ensures it
    quantized = quantize_model(
        read_model(request.output),
        request.int8_output,
        given.calibration,
        held_out=given.held_out,
        max_drop_points=request.max_accuracy_drop,
        predicted=record.predicted.promise_for(INT8),
        processor=request.int8_for,
        allow_unstable=request.allow_unstable,
        force=request.force,
        again=again,
        seed=request.seed,
        log=log,
    )
    return Exported(report=report, quantized=replace(quantized, readings=given.readings))


def _was_killed(request: ExportRequest, record: ArchitectureRecord) -> bool:
    """Whether a run that exports the same network may have been killed between two of its files."""
    later = [request.int8_output] if request.int8 else []
    later += [request.bundle] if request.bundle is not None else []
    if request.force or all(path.exists() for path in later):
        return False
    there = [path for path in (request.output, *later[: int(request.int8)]) if path.is_file()]
    try:
        return all(read_model(path).metadata.record.same_network(record) for path in there)
    except DeployNASError:
        return False


def _in_space(record: ArchitectureRecord, source: str | None) -> ArchitectureRecord:
    """The record in the space that ``source`` names, which may be its own space with other classes.

    What was predicted is of its own classes, and is left out then. Raises :class:`MismatchError` for another
    space.
    """
    if source is None:
        return record
    named = space_named(source)
    if named.base is not None and named.base.id == record.space.id:
        named.validate(record.architecture)
        return ArchitectureRecord(space=named, architecture=record.architecture)
    return replace(record, space=of_same_id(source, record.space))


def _labels(path: Path | Sequence[str]) -> Sequence[str]:
    if not isinstance(path, Path):
        return path
    try:
        lines = text_of(read_bytes(path, _MOST_LABEL_BYTES)).split("\n")
    except ValueError as error:
        raise OptionError(f"is not text ({error})", subject=str(path)) from error
    return [line.strip() for line in lines if line.strip()]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Images:
    """Images to calibrate on, labelled images to judge INT8 on, and how all were read."""

    calibration: ImageSet | None = None
    held_out: ImageSet | None = None
    readings: tuple[ReadingReport, ...] = ()


def _images(request: ExportRequest, record: ArchitectureRecord, names: Sequence[str]) -> _Images:
    """All images of a request, each read once."""
    source, side = request.calibration_images, record.image_size
    if source is None:
        if request.int8:
            raise OptionError(
                "needs images to take its ranges from", subject="int8", hint="add `calibration_images`"
            )
        return _Images()
    if not request.int8:
        found = load_images(source, labelled=False, limit=request.calibration_limit, size=side)
        return _Images(calibration=found, readings=(found.report,))
    calibration, held_out = _calibration(request, source, side, names)
    readings: tuple[ReadingReport, ...] = (calibration.report,)
    if request.images is not None:
        held_out = load_images(request.images, size=side)
        readings += (held_out.report,)
    return _Images(calibration=calibration, held_out=held_out, readings=readings)


def _calibration(
    request: ExportRequest, source: Path, side: int, names: Sequence[str]
) -> tuple[ImageSet, ImageSet | None]:
    """Images to calibrate on, and labelled images held out from them to judge INT8 on, if they have labels.

    Neither the INT8 ranges nor the batch-norm statistics may use the images that INT8 is judged on.
    """
    try:
        loaded = load_images(source, limit=request.calibration_limit, size=side)
    except ImagesError:
        loaded = load_images(source, labelled=False, limit=request.calibration_limit, size=side)
    if (found := loaded.median_side) < side / 2:
        raise ImagesError(
            f"are {found:g} pixels, the model takes {side}: enlarging them this much gives wrong ranges",
            subject=str(source),
        )
    names = [unicodedata.normalize("NFC", name) for name in names]  # as class folders are read
    if names and loaded.classes and (odd := sorted(set(loaded.classes) - set(names))):
        raise ImagesError(f"class folder {odd[0]!r} is not one of the model's classes", subject=str(source))
    if request.images is not None or sorted(loaded.classes) != sorted(names) or not names:
        return loaded, None
    fifth = np.arange(len(loaded)) % 5 == 0
    return loaded.take(np.flatnonzero(~fifth)), loaded.take(np.flatnonzero(fifth))
