"""Compare the measurement of a model with its prediction, its budget and its certificate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from deploy_nas.adapters.graphs import changed_graphs
from deploy_nas.core.errors import BudgetError, MismatchError
from deploy_nas.core.fingerprint import CPU_PROVIDER, Difference, Fingerprint
from deploy_nas.core.measured import Measured, Top1
from deploy_nas.core.shown import Shown
from deploy_nas.deploy.model_file import ModelFile
from deploy_nas.records.certificate import Certificate, MeasuredOn
from deploy_nas.records.profile import Profile

DEFAULT_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """A prediction and a budget to compare a model with, and the conditions it must be measured under.

    Args:
        threads: intra-op threads.
        provider, provider_options: execution provider of the prediction.
        predicted_ms: latency; ``None`` without a prediction.
        bound_ms: its upper bound at ``confidence``.
        confidence: of the bound.
        budget_ms: to be met.
        profile: the profile that the prediction comes from, if one was given.
    """

    threads: int
    provider: str = CPU_PROVIDER
    provider_options: Mapping[str, str] = field(default_factory=dict)
    predicted_ms: float | None = None
    bound_ms: float | None = None
    confidence: float | None = None
    budget_ms: float | None = None
    profile: Profile | None = None

    @property
    def timed_here(self) -> Profile | None:
        """The profile if it has a sentinel to time; an imported one has not."""
        return None if self.profile is None or self.profile.imported is not None else self.profile


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Verification(Shown):
    """A measurement with its prediction. Unknown figures are ``None``.

    Args:
        measured: the latency.
        measured_on: the device.
        predicted_ms, bound_ms, confidence, budget_ms: of the prediction.
        speed: of the device now over its speed when profiled (1.0: the same).
        differences: between the profile's device and this one.
        sha256: of the file as it was measured.
        certificate: of an earlier verification, from the file.
        warning: of wrong results on this device.
        logits_apart: largest difference between a logit here and in ONNX Runtime; ``None`` if it was measured
            in that, or elsewhere.
    """

    measured: Measured
    measured_on: Fingerprint | None = None
    predicted_ms: float | None = None
    bound_ms: float | None = None
    confidence: float | None = None
    budget_ms: float | None = None
    speed: float | None = None
    differences: tuple[Difference, ...] = ()
    sha256: str = ""
    certificate: Certificate | None = None
    warning: str | None = None
    logits_apart: float | None = None

    def _summary(self) -> str:
        said = (
            ""
            if self.budget_ms is None
            else f", budget {self.budget_ms:.4g} ms {'kept' if self.within_budget else 'MISSED'}"
        )
        return f"{self.measured.latency_ms:.4g} ms{said}"

    @property
    def faults(self) -> tuple[str, ...]:
        """Why the measurement cannot be relied on, a sentence each; empty if it can."""
        return self.measured.faults

    @property
    def within_budget(self) -> bool | None:
        """True if the measured latency is at most the budget; ``None`` without a budget."""
        return None if self.budget_ms is None else self.measured.latency_ms <= self.budget_ms

    @property
    def error_percent(self) -> float | None:
        """``100 * (predicted / measured - 1)``."""
        if self.predicted_ms is None:
            return None
        return 100.0 * (self.predicted_ms / self.measured.latency_ms - 1.0)


def check_budget(budget_ms: float | None) -> None:
    """Raise :class:`BudgetError` for an invalid latency budget."""
    if budget_ms is not None and not (math.isfinite(budget_ms) and budget_ms > 0):
        raise BudgetError(f"must be a positive number, is {budget_ms}", subject="max_latency_ms")


def promise_of(
    model: ModelFile,
    profile: Profile | None = None,
    *,
    budget_ms: float | None = None,
    confidence: float | None = DEFAULT_CONFIDENCE,
    threads: int | None = None,
) -> Promise:
    """The promise to compare a model with: a profile's prediction, or else that in its metadata.

    Args:
        model: the model.
        profile: to compare with.
        budget_ms: the budget; the model's own unless given.
        confidence: of the bound of a profile's prediction.
        threads: intra-op threads; the profile's, else those the model was searched for, unless given.

    Raises:
        BudgetError: an invalid budget.
        MismatchError: a profile of another space, precision or batch size, or without the image size.
    """
    check_budget(budget_ms)
    said = model.metadata.predicted
    if not model.single:  # predictions are for single images
        said = said.without_latency()
    budget = said.budget_ms if budget_ms is None else budget_ms
    if profile is None:
        return Promise(
            threads=threads or said.threads or 1,
            provider=said.measured_provider,
            provider_options=said.provider_options,
            predicted_ms=said.latency_ms,
            bound_ms=said.bound_ms,
            confidence=said.confidence,
            budget_ms=budget,
        )
    _check_profile(model, profile)
    predicted_ms = float(profile.latency_ms(profile.space.encode([model.metadata.architecture]))[0])
    here = profile.fingerprint
    imported = profile.imported is not None
    return Promise(
        threads=threads or here.threads,
        provider=CPU_PROVIDER if imported else here.provider,
        provider_options={} if imported else here.provider_options,
        predicted_ms=predicted_ms,
        bound_ms=predicted_ms * profile.upper_ratio(confidence) if profile.validated else None,
        confidence=confidence if profile.validated else None,
        budget_ms=budget,
        profile=profile,
    )


def _check_profile(model: ModelFile, profile: Profile) -> None:
    subject, precision = f"profile {profile.id}", model.metadata.precision
    if not model.single:
        raise MismatchError(
            "takes several images at once, but profiles are for single images", subject=model.subject
        )
    if profile.space.id != model.metadata.space.id:
        raise MismatchError(
            f"is of space {profile.space.id}, the model of {model.metadata.space.id}", subject=subject
        )
    if profile.fingerprint.precision != precision:
        raise MismatchError(
            f"holds {profile.fingerprint.precision} latencies, the model is {precision}",
            subject=subject,
            hint=f"profile with `precision` {precision}",
        )


def compare(
    model: ModelFile,
    promise: Promise,
    measured: Measured,
    found: Fingerprint,
    *,
    where: str = "here",
) -> Verification:
    """Compare a measurement with the promise.

    Args:
        model: the model that was measured.
        promise: its prediction and budget.
        measured: its latency.
        found: fingerprint of the device it was measured on.
        where: the place of that device, "here" or "there".
    """
    profile = promise.profile
    differences: tuple[Difference, ...] = ()
    if profile is not None:
        # the precision is the model's own, and was compared already
        same = found.of_precision(profile.fingerprint.precision)
        changed = changed_graphs(profile)
        differences = (*profile.differences(same, where=where), *([] if changed is None else [changed]))
    speed = None
    if profile is not None and measured.sentinel_ms is not None and not differences:
        speed = profile.quiet_ms / measured.sentinel_ms
    if measured.conditions is not None:  # the speed of another device than the profile's tells nothing
        measured = replace(measured, conditions=measured.conditions.at_speed(speed))
    return Verification(
        measured=measured,
        measured_on=found.of_precision(model.metadata.precision),
        predicted_ms=promise.predicted_ms,
        bound_ms=promise.bound_ms,
        confidence=promise.confidence,
        budget_ms=promise.budget_ms,
        speed=speed,
        differences=differences,
        sha256=model.sha256,
        certificate=model.metadata.certificate,
        warning=model.overflow_warning(found.cpu_features, found.machine),
    )


def certificate_of(
    model: ModelFile, found: Verification, top1: Top1 | None = None, *, allow_unstable: bool = False
) -> Certificate:
    """The certificate of a verified file; ``found`` must name the device it was measured on.

    Raises:
        UnstableDeviceError: what was measured cannot be relied on; ``allow_unstable`` certifies it all the
            same, with its faults.
    """
    if not allow_unstable:
        found.measured.check(model.subject)
    assert found.measured_on is not None  # noqa: S101 - every measurement names it
    on, metadata = found.measured_on, model.metadata
    return Certificate(
        graph_sha256=model.graph_sha256,
        metadata_sha256=model.metadata_sha256,
        measured=found.measured,
        measured_on=MeasuredOn(
            cpu=on.cpu,
            threads=on.threads,
            runtime=on.runtime,
            runtime_version=on.runtime_version,
            cores=on.cores,
            machine=on.machine,
            os=on.os,
            provider=on.provider,
            provider_options=on.provider_options,
            precision=on.precision,
        ),
        weights_sha256=None if metadata.weights is None else metadata.weights.sha256,
        profile=metadata.profile,
        budget_ms=found.budget_ms,
        predicted_ms=found.predicted_ms,
        bound_ms=found.bound_ms,
        confidence=found.confidence,
        within_budget=found.within_budget,
        agreement=metadata.agreement,
        top1=top1,
    )
