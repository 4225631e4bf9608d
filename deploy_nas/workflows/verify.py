"""Verify an exported file, or every model of a bundle, here or on another device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from deploy_nas.adapters.images import ImageSet, ReadingReport, load_images
from deploy_nas.adapters.kits import make_check_kit
from deploy_nas.adapters.targets import Target, target_of
from deploy_nas.adapters.targets.checking import checked_there, remove_check
from deploy_nas.core.arrays import Float32Array
from deploy_nas.core.errors import CheckFailedError, MismatchError, OptionError, RecordError
from deploy_nas.core.fingerprint import ONNXRUNTIME, Fingerprint, runtime_name
from deploy_nas.core.measured import Top1
from deploy_nas.core.precision import FP32
from deploy_nas.core.shown import Shown
from deploy_nas.deploy.bundle import open_bundle
from deploy_nas.deploy.measuring import measure, sentinel_graph
from deploy_nas.deploy.model_file import ModelFile, read_model
from deploy_nas.deploy.top1 import classes_of, labels_of, measure_top1
from deploy_nas.deploy.verify import (
    DEFAULT_CONFIDENCE,
    Promise,
    Verification,
    check_budget,
    compare,
    promise_of,
)
from deploy_nas.device import machine
from deploy_nas.device.check import CheckResult, logits_of
from deploy_nas.device.measure import MeasureSettings, Progress, check_pace
from deploy_nas.device.runtimes import runtime_of
from deploy_nas.device.session import open_session
from deploy_nas.records.bundle import is_bundle
from deploy_nas.records.profile import Profile
from deploy_nas.workflows.given import GivenProfile, profile_given

_LEAST_PACE_MS = 0.001
_TOLERANCE = 1e-3  # processors sum in different orders


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyRequest:
    """A file to verify, and what to compare it with.

    Args:
        path: an exported file, or a bundle.
        profile: to compare with; the prediction in the file unless given.
        max_latency_ms: the budget; the file's own unless given.
        threads: intra-op threads; the profile's unless given.
        target: the device to measure on, or its address (``adapters.targets.target_of``); this process
            unless given.
        ssh_options: for ssh and scp alike.
        images: labelled images to measure top-1 on, here.
        every_ms: measure at this pace too, a run every so many ms.
    """

    path: Path
    profile: GivenProfile | None = None
    max_latency_ms: float | None = None
    threads: int | None = None
    target: str | Target | None = None
    ssh_options: Sequence[str] = ()
    images: Path | None = None
    every_ms: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredTop1:
    """Top-1 of a model, the prediction in its file if any, and how the images were read."""

    top1: Top1
    predicted_percent: float | None
    report: ReadingReport = field(default_factory=ReadingReport)

    @property
    def agrees(self) -> bool | None:
        """True if the prediction lies in the measurement's 95% interval; ``None`` without a prediction."""
        if self.predicted_percent is None:
            return None
        low, high = self.top1.interval_percent
        return low <= self.predicted_percent <= high


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Verified(Shown):
    """One model as verified.

    Args:
        name: of the model.
        verification: of its latency.
        top1: on images; ``None`` without images.
        logits_apart: largest difference between a logit on the device, or in another runtime, and in ONNX
            Runtime here; ``None`` if it was measured in that.
        logits_judged: true if too large a difference is an error; INT8 sums differ by processor.
        device: the other device it was measured on; ``None`` if measured here.
    """

    name: str
    verification: Verification
    top1: MeasuredTop1 | None = None
    logits_apart: float | None = None
    logits_judged: bool = False
    device: Fingerprint | None = None

    def _summary(self) -> str:
        top1 = "" if self.top1 is None else f", top-1 {self.top1.top1.percent:.2f}%"
        return f"{self.name}: {self.verification._summary()}{top1}"


def verify(request: VerifyRequest, progress: Progress | None = None) -> list[Verified]:
    """Measure a file, or every model of a bundle, and compare.

    Raises:
        BudgetError: an invalid budget.
        OptionError: images for a bundle, or an invalid pace.
        RecordError: neither a model nor a bundle, cut short, or with a path outside the bundle.
        MismatchError: a file changed since it was verified, or a profile that does not fit.
        ProviderError: the prediction's execution provider is missing.
        ImagesError: images that cannot be used.
        TargetError: a device that cannot be reached or used.
        CheckFailedError: logits on the device that differ from those here.
    """
    check_budget(request.max_latency_ms)
    if request.every_ms is not None:
        check_pace(request.every_ms, least=_LEAST_PACE_MS)
    profile = profile_given(request.profile) if request.profile is not None else None
    models = models_at(request.path, profile)
    if request.images is not None and is_bundle(request.path):
        raise OptionError("are for a single model, not for a bundle", subject="images")
    given = images_for(models[0], request.images) if request.images is not None else None
    return verify_models(models, profile, request, given, progress)


def verify_models(
    models: Sequence[ModelFile],
    profile: Profile | None,
    request: VerifyRequest,
    given: ImageSet | None = None,
    progress: Progress | None = None,
) -> list[Verified]:
    """Measure models that were read, and compare each; raises as :func:`verify`."""
    if request.target is None:
        return [_verified_here(model, profile, request, given) for model in models]
    device = target_of(request.target, request.ssh_options)
    there = _run_there(models, device, profile, request, progress)
    return [_verified_there(model, profile, request, given, there, device.address) for model in models]


def models_at(path: Path, profile: Profile | None = None) -> list[ModelFile]:
    """The models at a path; of a bundle, those of the profile's precision if it has any."""
    if not is_bundle(path):
        return [read_model(path)]
    _, models = open_bundle(path)
    if profile is None:
        return models
    return [m for m in models if m.metadata.precision == profile.fingerprint.precision] or models


def verify_here(
    model: ModelFile,
    profile: Profile | None = None,
    *,
    budget_ms: float | None = None,
    confidence: float | None = DEFAULT_CONFIDENCE,
    threads: int | None = None,
    seed: int = 0,
    every_ms: float | None = None,
) -> Verification:
    """Measure one model on this machine under the conditions of its prediction, and compare.

    Args:
        model, profile, budget_ms, confidence, threads: see :func:`~deploy_nas.deploy.verify.promise_of`.
        seed: for drawing the input image.
        every_ms: measure at this pace too, a run every so many ms.

    Raises:
        BudgetError, MismatchError: see there.
        ProviderError: the prediction's execution provider is missing.
    """
    promise = promise_of(model, profile, budget_ms=budget_ms, confidence=confidence, threads=threads)
    # fewer threads than profiled are reported as a difference; more than the cores raise an error
    used = promise.threads if threads is not None else machine.threads_here(promise.threads)
    apart = _apart_from_onnxruntime(model, promise, used)
    measured = measure(
        model.data,
        threads=used,
        provider=promise.provider,
        provider_options=promise.provider_options,
        profile=promise.timed_here,
        seed=seed,
        every_ms=every_ms or 0.0,
    )
    found = machine.fingerprint(
        threads=used,
        provider=promise.provider,
        provider_options=promise.provider_options,
        precision=model.metadata.precision,
        pinned=True,
    )
    return replace(compare(model, promise, measured, found), logits_apart=apart)


def _apart_from_onnxruntime(model: ModelFile, promise: Promise, threads: int) -> float | None:
    """Largest difference between a logit in the promise's runtime and in ONNX Runtime, in which the export
    was checked; ``None`` if the promise is for that.

    Raises:
        CheckFailedError: in fp32 they differ by more than sums in another order do.
    """
    if runtime_name(promise.provider) == ONNXRUNTIME:
        return None
    runtime = runtime_of(promise.provider)
    opened = runtime.open(
        model.data,
        provider=promise.provider,
        provider_options=promise.provider_options,
        threads=threads,
    )
    here, there = logits_of(open_session(model.data)), logits_of(opened)
    opened.close()
    apart = float(np.abs(there - here).max())
    if model.metadata.precision == FP32 and not _close(apart, here):
        raise CheckFailedError(
            f"its logits in {runtime.name} differ from those in {ONNXRUNTIME} by {apart:.3g}",
            subject=model.subject,
        )
    return apart


def _close(apart: float, logits: Float32Array) -> bool:
    """Whether logits that are this far from these can be those of the same file in fp32."""
    return apart <= _TOLERANCE * max(1.0, float(np.abs(logits).max()))


def _verified_here(
    model: ModelFile, profile: Profile | None, request: VerifyRequest, given: ImageSet | None
) -> Verified:
    verification = verify_here(
        model,
        profile,
        budget_ms=request.max_latency_ms,
        threads=request.threads,
        every_ms=request.every_ms,
    )
    return Verified(
        name=model.subject,
        verification=verification,
        top1=None if given is None else top1_of(model, given),
        logits_apart=verification.logits_apart,
        logits_judged=model.metadata.precision == FP32,
    )


def images_for(model: ModelFile, images: Path) -> ImageSet:
    """Labelled images for a model, resized for it.

    Raises:
        ImagesError: images that cannot be used, or of other classes than the model's.
        RecordError: the file does not say how its images are prepared.
    """
    loaded = load_images(images, size=model.metadata.prepared_as(model.subject).image_size)
    labels_of(loaded, model, classes_of(open_session(model.data, threads=1)))
    return loaded


def top1_of(model: ModelFile, images: ImageSet) -> MeasuredTop1:
    """Top-1 of a model on labelled images (:func:`images_for`), with its prediction."""
    return MeasuredTop1(
        top1=measure_top1(model, images, threads=len(machine.cores())),
        predicted_percent=model.metadata.predicted.accuracy_percent,
        report=images.report,
    )


# -- on another device -------------------------------------------------------------------------------


def _run_there(
    models: Sequence[ModelFile],
    device: Target,
    profile: Profile | None,
    request: VerifyRequest,
    progress: Progress | None,
) -> CheckResult:
    promises = [promise_of(model, profile, threads=request.threads) for model in models]
    first = promises[0]  # models of one bundle, or of one profile, have the same provider
    threads = max(promise.threads for promise in promises)
    how = MeasureSettings(threads=threads, every_ms=request.every_ms or 0.0)
    sentinel = sentinel_graph(profile, how.threads)
    kit = make_check_kit(
        {model.subject: model.data for model in models},
        how,
        provider=first.provider,
        provider_options=first.provider_options,
        sentinel=sentinel,
        core_us=None if sentinel is None or profile is None else profile.noise.core_us,
    )
    found = checked_there(kit, device, progress)
    remove_check(kit, device)
    return found


def _verified_there(
    model: ModelFile,
    profile: Profile | None,
    request: VerifyRequest,
    given: ImageSet | None,
    there: CheckResult,
    where: str,
) -> Verified:
    found, device = there.model(model.subject, where), there.device
    if found.sha256 != model.sha256:
        raise MismatchError("ran a different file than was sent", subject=where)
    here = logits_of(open_session(model.data)).ravel()
    logits = np.array(found.logits)
    if logits.shape != here.shape:
        raise RecordError(f"returned {logits.size} logits, the model has {here.size}", subject=where)
    apart = float(np.abs(logits - here).max())
    exact = model.metadata.precision == FP32
    if exact and not _close(apart, here):
        raise CheckFailedError(
            f"its logits on the device differ from those here by {apart:.3g}", subject=model.subject
        )
    promise = promise_of(model, profile, budget_ms=request.max_latency_ms, threads=request.threads)
    return Verified(
        name=model.subject,
        verification=compare(model, promise, found.measured, device, where="there"),
        top1=None if given is None else top1_of(model, given),
        logits_apart=apart,
        logits_judged=exact,
        device=device,
    )
