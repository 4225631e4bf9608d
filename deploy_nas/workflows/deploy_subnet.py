"""Export an architecture file, and verify what was exported."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy_nas.adapters.graphs import read_metadata
from deploy_nas.adapters.images import load_images
from deploy_nas.core.errors import BudgetError, OptionError
from deploy_nas.deploy.export import ExportReport, export_onnx
from deploy_nas.deploy.top1 import Top1, measure_top1
from deploy_nas.deploy.verify import Verification, verify_model
from deploy_nas.device import machine
from deploy_nas.records.architecture import load_architecture
from deploy_nas.records.files import check_output, read_bytes
from deploy_nas.records.profile import load_profile


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRequest:
    """What to export; ``weights`` as :func:`deploy_nas.export_onnx` takes them."""

    architecture: Path
    output: Path
    weights: str | None = None
    calibration_images: Path | None = None
    calibration_limit: int = 2000
    labels: Path | None = None
    dynamic_batch: bool = False
    seed: int = 0
    force: bool = False


def export_subnet(request: ExportRequest, log: Callable[[str], None] | None = None) -> ExportReport:
    """Write one architecture file's subnet as ONNX.

    Raises:
        InputError: for whatever was given that is not usable; nothing is written.
        CheckFailedError: the outputs differ from ofa's; nothing is written.
    """
    record = load_architecture(request.architecture)
    check_output(request.output, force=request.force)
    labels = None
    if request.labels is not None:
        try:
            labels = read_bytes(request.labels).decode().split("\n")
        except UnicodeDecodeError as error:
            raise OptionError("is not text", subject=str(request.labels)) from error
        labels = [label.strip() for label in labels if label.strip()]
    images = None
    if request.calibration_images is not None:
        images = load_images(
            request.calibration_images, labelled=False, limit_per_class=request.calibration_limit
        )
    return export_onnx(
        record.architecture,
        request.output,
        space=record.space,
        weights=request.weights,
        calibration_images=images,
        predicted=record.predicted,
        profile_id=record.predicted.get("profile"),
        labels=labels,
        batch=None if request.dynamic_batch else 1,
        force=request.force,
        seed=request.seed,
        log=log,
    )


def verify_subnet(
    model: Path,
    *,
    profile: Path | None = None,
    max_latency_ms: float | None = None,
    threads: int | None = None,
) -> Verification:
    """Measure an exported file on this machine; see :func:`deploy_nas.deploy.verify.verify_model`.

    Raises:
        BudgetError: a budget that is no positive number.
    """
    if max_latency_ms is not None and not (math.isfinite(max_latency_ms) and max_latency_ms > 0):
        raise BudgetError(f"must be a positive number, is {max_latency_ms}", subject="--max-latency-ms")
    loaded = load_profile(profile) if profile is not None else None
    return verify_model(model, profile=loaded, budget_ms=max_latency_ms, threads=threads)


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


def top1_of(model: Path, images: Path) -> MeasuredTop1:
    """Top-1 of an exported file on labelled images, beside what was predicted for it.

    Raises:
        ImagesError: images that cannot be used, or of other classes than the model's.
        RecordError: the file does not say how its images are prepared.
    """
    data = read_bytes(model)
    metadata = read_metadata(data, str(model))
    side = (metadata.get("preprocessing") or {}).get("image_size")
    loaded = load_images(images, size=side if isinstance(side, int) and side > 0 else None)
    predicted = metadata.get("predicted") or {}
    percent = predicted.get("accuracy")
    if isinstance(percent, int | float):
        percent = float(percent) * (100.0 if predicted.get("accuracy_unit") == "fraction" else 1.0)
    top1 = measure_top1(data, loaded, threads=len(machine.cores()))
    return MeasuredTop1(top1=top1, predicted_percent=percent, skipped=loaded.skipped)
