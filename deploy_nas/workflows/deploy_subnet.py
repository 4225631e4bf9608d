"""Export an architecture file, in INT8 too, and measure top-1 of what was exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deploy_nas.adapters.graphs import read_metadata
from deploy_nas.adapters.images import ImageSet, load_images
from deploy_nas.core.errors import ImagesError, OptionError
from deploy_nas.core.fields import Fields
from deploy_nas.core.precision import INT8, THIS_PROCESSOR
from deploy_nas.deploy.export import ExportReport, class_names, export_onnx, promised
from deploy_nas.deploy.quantize import QuantizeReport, quantize_onnx
from deploy_nas.deploy.top1 import Top1, labels_of, measure_top1, preprocessing_of
from deploy_nas.device import machine
from deploy_nas.device.session import open_session
from deploy_nas.records.architecture import load_architecture
from deploy_nas.records.files import check_output, read_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRequest:
    """What to export; ``weights`` as :func:`deploy_nas.export_onnx` takes them."""

    architecture: Path
    output: Path
    weights: str | None = None
    calibration_images: Path | None = None
    calibration_limit: int = 2000
    keep_statistics: bool = False
    labels: Path | None = None
    dynamic_batch: bool = False
    seed: int = 0
    force: bool = False
    int8: bool = False
    images: Path | None = None
    max_accuracy_drop: float = 1.0
    int8_for: str = THIS_PROCESSOR

    @property
    def int8_output(self) -> Path:
        """Where the INT8 file goes: beside the fp32 one."""
        return self.output.with_suffix(f".int8{self.output.suffix or '.onnx'}")


def export_subnet(request: ExportRequest, log: Callable[[str], None] | None = None) -> ExportReport:
    """Write one architecture file's subnet as ONNX.

    Raises:
        InputError: for whatever was given that is not usable; nothing is written.
        CheckFailedError: the outputs differ from ofa's; nothing is written.
    """
    record = load_architecture(request.architecture)
    check_output(request.output, force=request.force)
    if request.int8:
        check_output(request.int8_output, force=request.force)
        if request.calibration_images is None:
            raise OptionError(
                "needs images to take ranges from", subject="--int8", hint="add --calibration-images"
            )
    labels = _labels(request.labels) if request.labels is not None else None
    images = None
    if request.calibration_images is not None and not request.keep_statistics:
        side = int(record.architecture["image_size"])
        if request.int8:  # what INT8 will be judged on, the statistics must not see either
            images, _ = _calibration(request, side, class_names(record.space, labels))
        else:
            images = load_images(
                request.calibration_images, labelled=False, limit=request.calibration_limit, size=side
            )
    report = export_onnx(
        record.architecture,
        request.output,
        space=record.space,
        weights=request.weights,
        calibration_images=images,
        predicted=record.predicted,
        labels=labels,
        batch=None if request.dynamic_batch else 1,
        force=request.force,
        seed=request.seed,
        log=log,
    )
    return replace(report, skipped=images.skipped if images is not None else ())


def quantize_subnet(request: ExportRequest, log: Callable[[str], None] | None = None) -> QuantizeReport:
    """Write the INT8 file beside the fp32 one that :func:`export_subnet` wrote, or none: no older one stays.

    Top-1 is measured on ``request.images``; without them on every fifth calibration image, where those
    lie in folders of the model's classes.

    Raises:
        ImagesError: images too small for the model, too few, or of other classes.
        CheckFailedError: INT8 is slower or loses more than allowed; the fp32 file is kept.
    """
    record = load_architecture(request.architecture)
    side = int(record.architecture["image_size"])
    if request.force:
        request.int8_output.unlink(missing_ok=True)  # it would be of another network
    metadata = read_metadata(read_bytes(request.output), str(request.output))
    calibration, held_out = _calibration(request, side, metadata.get("labels") or [])
    skipped = calibration.skipped
    if request.images is not None:
        held_out = load_images(request.images, size=side)
        skipped += held_out.skipped
    report = quantize_onnx(
        request.output,
        request.int8_output,
        calibration,
        held_out=held_out,
        max_drop_points=request.max_accuracy_drop,
        predicted=promised(record.predicted, INT8),
        processor=request.int8_for,
        threads=int(record.predicted.get("threads", 1)),
        force=request.force,
        seed=request.seed,
        log=log,
    )
    return replace(report, skipped=skipped)


def _labels(path: Path) -> list[str]:
    try:
        lines = read_bytes(path).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise OptionError("is not text", subject=str(path)) from error
    return [line.strip() for line in lines if line.strip()]


def _calibration(request: ExportRequest, side: int, names: Sequence[str]) -> tuple[ImageSet, ImageSet | None]:
    """Images to calibrate on, and labelled ones kept from them to measure on, where there are any."""
    source = request.calibration_images
    if source is None:
        raise OptionError(
            "needs images to take ranges from", subject="--int8", hint="add --calibration-images"
        )
    try:
        loaded = load_images(source, limit=request.calibration_limit, size=side)
    except ImagesError:
        loaded = load_images(source, labelled=False, limit=request.calibration_limit, size=side)
    if (found := loaded.median_side) < side / 2:
        raise ImagesError(
            f"are {found:g} pixels, the model takes {side}: enlarged so far they give wrong ranges",
            subject=str(source),
        )
    if names and loaded.classes and (odd := sorted(set(loaded.classes) - set(names))):
        raise ImagesError(f"class folder {odd[0]!r} is none of the model's classes", subject=str(source))
    if request.images is not None or sorted(loaded.classes) != sorted(names) or not names:
        return loaded, None
    fifth = np.arange(len(loaded)) % 5 == 0
    return loaded.take(np.flatnonzero(~fifth)), loaded.take(np.flatnonzero(fifth))


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredTop1:
    """Top-1 of an exported file, what was predicted for it (if it says), and the images that were skipped."""

    top1: Top1
    predicted_percent: float | None
    skipped: tuple[str, ...]

    @property
    def agrees(self) -> bool | None:
        """Whether the prediction lies in the measurement's 95% interval; ``None`` without one."""
        if self.predicted_percent is None:
            return None
        low, high = self.top1.interval_percent
        return low <= self.predicted_percent <= high


def images_for(model: Path, images: Path) -> ImageSet:
    """Labelled images for an exported file, brought to its size.

    Raises:
        ImagesError: images that cannot be used, or of other classes than the model's.
        RecordError: the file does not say how its images are prepared.
    """
    data = read_bytes(model)
    metadata = read_metadata(data, str(model))
    loaded = load_images(images, size=preprocessing_of(metadata, str(model))[0])
    labels_of(loaded, metadata, open_session(data, threads=1).get_outputs()[0].shape[-1])
    return loaded


def top1_of(model: Path, images: ImageSet) -> MeasuredTop1:
    """Top-1 of an exported file on labelled images (:func:`images_for`), beside what was predicted for it.

    Raises:
        RecordError: the file's prediction is no number.
    """
    data = read_bytes(model)
    predicted = Fields(read_metadata(data, str(model)).get("predicted") or {}, f"{model}: predicted")
    percent = None
    if predicted.value.get("accuracy") is not None:
        percent = predicted.number("accuracy")
        percent *= 100.0 if predicted.value.get("accuracy_unit") == "fraction" else 1.0
    top1 = measure_top1(data, images, threads=len(machine.cores()))
    return MeasuredTop1(top1=top1, predicted_percent=percent, skipped=images.skipped)
