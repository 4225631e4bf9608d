"""Run an exported file on this machine and hold it against its prediction and its budget."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy_nas.adapters.graphs import graph_form, read_metadata, timed_graph
from deploy_nas.core.errors import MismatchError
from deploy_nas.core.precision import THIS_PROCESSOR, scheme_for
from deploy_nas.core.space import FloatArray
from deploy_nas.deploy.claims import (
    checked_batch,
    checked_certificate,
    misfits,
    model_architecture,
    threads_asked,
)
from deploy_nas.device import machine
from deploy_nas.device.session import CPU_PROVIDER, open_session, random_initializers
from deploy_nas.device.timing import Timer, latency_of
from deploy_nas.records.architecture import parse_predicted
from deploy_nas.records.files import Fields, read_bytes
from deploy_nas.records.profile import Profile

ROUNDS = 20
BURST_MS = 40.0
PAUSE_S = 0.06  # between rounds: two seconds in all, so that one bad moment is not the whole answer
SLOW_FACTOR = 1.3
_DEVICE_KEYS = (
    "cpu",
    "cpu_features",
    "cores",
    "machine",
    "onnxruntime",
    "threads",
    "provider",
    "provider_options",
    "precision",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Times of one file, ms. ``latency_ms`` is the one statistic; ``sentinel_ms`` was taken in between."""

    latency_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    runs: int
    sentinel_ms: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What was measured beside what was promised. Figures that are not known are ``None``.

    ``speed`` is this device's speed now over its speed when profiled (1.0: the same).
    ``differences`` names what of the profile's fingerprint is not this machine's. ``sha256`` is of the
    file as it was measured, ``certificate`` what the file says was measured before. ``misfits`` names
    why it does not compute there what it should.
    """

    measured: Measured
    predicted_ms: float | None
    bound_ms: float | None
    budget_ms: float | None
    speed: float | None
    differences: tuple[str, ...]
    sha256: str = ""
    certificate: Mapping[str, Any] | None = None
    misfits: tuple[str, ...] = ()

    @property
    def within_budget(self) -> bool | None:
        """Measured at most the budget; ``None`` without one."""
        return None if self.budget_ms is None else self.measured.latency_ms <= self.budget_ms

    @property
    def error_percent(self) -> float | None:
        """Predicted over measured, less one."""
        if self.predicted_ms is None:
            return None
        return 100.0 * (self.predicted_ms / self.measured.latency_ms - 1.0)


def sentinel_timer(
    profile: Profile, threads: int, rng: np.random.Generator, worker_cores: Sequence[int]
) -> Timer:
    """The profile's sentinel, open on this machine."""
    space = profile.space
    layers = space.layers(space.smallest(min(profile.image_sizes)))
    fingerprint = profile.fingerprint
    scheme = scheme_for(THIS_PROCESSOR, machine.cpu_features(), platform.machine())
    graph, tensors = timed_graph(layers, str(fingerprint.get("precision", "fp32")), scheme.activations)
    session = open_session(
        graph,
        provider=str(fingerprint.get("provider", CPU_PROVIDER)),
        provider_options=fingerprint.get("provider_options") or None,
        threads=threads,
        worker_cores=worker_cores,
        initializers=random_initializers(tensors, rng),
    )
    return Timer(session, rng)


def measure(
    model: bytes,
    *,
    threads: int = 1,
    provider: str = CPU_PROVIDER,
    provider_options: Mapping[str, str] | None = None,
    profile: Profile | None = None,
    rounds: int = ROUNDS,
    wait_s: float = 15.0,
    seed: int = 0,
) -> Measured:
    """Time a serialised model in a session of its own, as a user would, in several rounds.

    With a profile of as many threads its sentinel is timed before each round; while that is far slower than
    when profiled, the round waits, ``wait_s`` in all, and rounds beside a slow sentinel do not count unless
    there is no other: latency is that of a quiet device.
    """
    rng = np.random.default_rng(seed)
    if profile is not None and profile.fingerprint.get("threads", 1) != threads:
        profile = None  # its sentinel was timed with others
    with machine.pinned_to(threads) as pinning:
        cores = pinning.worker_cores
        session = open_session(
            model,
            provider=provider,
            provider_options=provider_options,
            threads=threads,
            worker_cores=cores,
        )
        timer = Timer(session, rng)
        sentinel = sentinel_timer(profile, threads, rng, cores) if profile is not None else None
        points: list[FloatArray] = []
        beside: list[float] = []
        runs, waited_s = 0, 0.0

        def read(timer: Timer) -> float:
            burst = timer.burst(burst_ms=8.0, least_runs=5, warmup_runs=2, warmup_ms=3.0)
            return latency_of(burst.points_ms)

        for number in range(rounds):
            if number:
                time.sleep(PAUSE_S)
            if sentinel is not None:
                reading = read(sentinel)
                while (
                    profile is not None and reading > SLOW_FACTOR * profile.sentinel_ms and waited_s < wait_s
                ):
                    time.sleep(0.25)
                    waited_s += 0.25
                    reading = read(sentinel)
                beside.append(reading)
            burst = timer.burst(burst_ms=BURST_MS, least_runs=8, warmup_runs=5, warmup_ms=3.0)
            points.append(np.array(burst.points_ms))
            runs += burst.runs
        if sentinel is not None and profile is not None:
            limit = SLOW_FACTOR * profile.sentinel_ms
            after = [*beside[1:], read(sentinel)]
            quiet = [p for p, a, b in zip(points, beside, after, strict=True) if max(a, b) <= limit]
            points = quiet or points
    pooled = np.concatenate(points)
    return Measured(
        latency_ms=latency_of(pooled),
        p50_ms=float(np.quantile(pooled, 0.5)),
        p90_ms=float(np.quantile(pooled, 0.9)),
        p99_ms=float(np.quantile(pooled, 0.99)),
        runs=runs,
        sentinel_ms=latency_of(beside) if beside else None,
    )


def device_differences(
    profile: Profile, device: Mapping[str, Any] | None = None, *, threads: int | None = None
) -> tuple[str, ...]:
    """What of the profile's fingerprint this machine is not, or the device of that fingerprint.

    ``threads`` are those that were measured with here, the profile's unless given. An imported profile is
    nobody's that was measured here.
    """
    theirs = profile.fingerprint
    if profile.imported is not None:
        return (f"imported: a table of {theirs.get('cpu')}, timed by others and validated by nobody",)
    if device is not None:
        ours = {**device, "precision": theirs.get("precision")}  # a model has its own, and it was compared
        return (*_differences(theirs, ours, "there"), *respelled(profile))
    ours = machine.fingerprint(
        threads=threads or int(theirs.get("threads", 1)),
        provider=str(theirs.get("provider", CPU_PROVIDER)),
        provider_options=theirs.get("provider_options", {}),
        precision=str(theirs.get("precision", "fp32")),
        pinned=True,
    )
    return (*_differences(theirs, ours, "here"), *respelled(profile))


def respelled(profile: Profile) -> tuple[str, ...]:
    """Says so where the graphs profiled are not those that this deploy-nas writes; empty where they are."""
    then = profile.fingerprint.get("graphs")
    if then is None:  # nobody wrote it down
        return ()
    layers = profile.space.layers(profile.space.smallest(min(profile.image_sizes)))
    if then == graph_form(layers, str(profile.fingerprint.get("precision", "fp32"))):
        return ()
    return ("graphs: profiled as another deploy-nas writes them, this one's files take other times",)


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any], where: str) -> tuple[str, ...]:
    return tuple(
        f"{key}: profiled {theirs.get(key)!r}, {where} {ours.get(key)!r}"
        for key in _DEVICE_KEYS
        if theirs.get(key) != ours.get(key)
    )


def verify_model(
    path: Path,
    *,
    profile: Profile | None = None,
    budget_ms: float | None = None,
    confidence: float | None = 0.95,
    threads: int | None = None,
    seed: int = 0,
) -> Verification:
    """Measure an exported file and compare.

    Args:
        path: an ONNX file that :func:`deploy_nas.export_onnx` wrote.
        profile: the profile to compare with; without one, what the file says was predicted.
        budget_ms: the budget; without one, the file's own, if it has one.
        confidence: of the bound that is reported beside the prediction.
        threads: intra-op threads; those of the profile unless given, else 1.
        seed: draws the input image.

    Raises:
        RecordError: no model, cut short, or not ours.
        MismatchError: the file is not the one its certificate is of, or its input not its architecture's;
            the profile is of another space, precision or batch size, or does not hold the image size.
    """
    return verify_data(
        read_bytes(path),
        str(path),
        profile=profile,
        budget_ms=budget_ms,
        confidence=confidence,
        threads=threads,
        seed=seed,
    )


def verify_data(
    data: bytes,
    subject: str,
    *,
    profile: Profile | None = None,
    budget_ms: float | None = None,
    confidence: float | None = 0.95,
    threads: int | None = None,
    measured: Measured | None = None,
    device: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Verification:
    """As :func:`verify_model`, of a serialised model.

    Args:
        data: the model.
        subject: names it in errors.
        profile, budget_ms, confidence, threads, seed: as there.
        measured: what a device elsewhere took; it is not measured here then.
        device: that device's fingerprint.
    """
    metadata = read_metadata(data, subject)
    record = model_architecture(metadata, subject)
    certificate = checked_certificate(data, metadata, subject)
    predicted = parse_predicted(Fields(metadata.get("predicted") or {}, f"{subject}: predicted"))
    if (checked_batch(data, record, subject) or 1) > 1:  # what was promised is of single images
        predicted = {}
        if profile is not None:
            raise MismatchError("takes several images at once, profiles are of single ones", subject=subject)
    budget = budget_ms if budget_ms is not None else predicted.get("budget_ms")
    predicted_ms, bound_ms = predicted.get("latency_ms"), predicted.get("bound_ms")
    differences: tuple[str, ...] = ()
    if profile is not None:
        if threads is None and device is None:
            threads = machine.threads_here(threads_asked(metadata, profile))  # fewer is a difference named
        if profile.space.id != record.space.id:
            raise MismatchError(
                f"is of space {profile.space.id}, the model of {record.space.id}",
                subject=f"profile {profile.id}",
            )
        precision = str(metadata.get("precision", "fp32"))
        if (profiled := str(profile.fingerprint.get("precision", "fp32"))) != precision:
            raise MismatchError(
                f"holds {profiled} latencies, the model is {precision}",
                subject=f"profile {profile.id}",
                hint=f"profile with --precision {precision}",
            )
        predicted_ms = float(profile.latency_ms(record.space.encode([record.architecture]))[0])
        bound_ms = predicted_ms * profile.upper_ratio(confidence) if profile.validated else None
        differences = device_differences(profile, device, threads=threads)
    here = measured is None
    if measured is None:
        # an imported table has neither provider nor sentinel of this machine
        timed_here = None if profile is None or profile.imported is not None else profile
        measured = measure(
            data,
            threads=threads or threads_asked(metadata, profile),
            provider=CPU_PROVIDER
            if timed_here is None
            else str(timed_here.fingerprint.get("provider", CPU_PROVIDER)),
            provider_options=None
            if timed_here is None
            else timed_here.fingerprint.get("provider_options") or None,
            profile=timed_here,
            seed=seed,
        )
    speed = None
    if here and profile is not None and measured.sentinel_ms is not None and not differences:
        speed = profile.sentinel_ms / measured.sentinel_ms
    return Verification(
        measured=measured,
        predicted_ms=predicted_ms,
        bound_ms=bound_ms,
        budget_ms=budget,
        speed=speed,
        differences=differences,
        sha256=hashlib.sha256(data).hexdigest(),
        certificate=certificate,
        misfits=misfits(metadata, device),
    )
