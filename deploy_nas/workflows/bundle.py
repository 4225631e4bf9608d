"""Bundles: make one of a fresh export, and verify one, or a single file, here or over ssh."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy_nas.adapters.graphs import read_metadata
from deploy_nas.adapters.kits import make_check_kit
from deploy_nas.adapters.ssh import SshTarget
from deploy_nas.core.errors import BudgetError, CheckFailedError, MismatchError, RecordError
from deploy_nas.core.fields import Fields, parse_json
from deploy_nas.deploy.bundle import check_bundle, make_bundle
from deploy_nas.deploy.certify import certify
from deploy_nas.deploy.claims import threads_asked
from deploy_nas.deploy.quantize import QuantizeReport
from deploy_nas.deploy.top1 import Top1
from deploy_nas.deploy.verify import Measured, Verification, verify_data, verify_model
from deploy_nas.device import machine
from deploy_nas.device.check import logits_of
from deploy_nas.device.session import open_session
from deploy_nas.records.bundle import is_bundle, read_bundle
from deploy_nas.records.files import read_bytes
from deploy_nas.records.profile import load_profile
from deploy_nas.workflows.deploy_subnet import ExportRequest, images_for, top1_of

_TOLERANCE = 1e-3  # another processor sums in another order

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """One model as verified.

    ``logits_apart`` is the largest difference of a logit there and here; ``logits_judged`` whether too large
    a one would have been an error: INT8 sums differ between processors.
    """

    name: str
    verification: Verification
    logits_apart: float | None = None
    logits_judged: bool = False
    device: str | None = None


def bundle_export(
    request: ExportRequest,
    quantized: QuantizeReport | None,
    output: Path,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Verify the files of a fresh export, certify and bundle them; returns the manifest's object."""
    say = log or (lambda line: None)
    bundled = []
    known: list[tuple[Path, Top1 | None]] = [(request.output, None)]
    if quantized is not None:  # on images held out of the calibration
        known = [(request.output, quantized.float_top1), (quantized.path, quantized.int8_top1)]
    for path, top1 in known:
        say(f"verifying {path.name}")
        asked = threads_asked(read_metadata(read_bytes(path), str(path)), None)
        threads = machine.threads_here(asked)
        found = verify_model(path, threads=threads)
        if top1 is None and request.images is not None:
            top1 = top1_of(path, images_for(path, request.images)).top1
        bundled.append((path, certify(path, found, threads=threads, top1=top1)))
    say("bundling")
    return make_bundle(bundled, output, force=request.force)


def verify_path(
    path: Path,
    *,
    profile: Path | None = None,
    max_latency_ms: float | None = None,
    threads: int | None = None,
    target: str | None = None,
    ssh_options: Sequence[str] = (),
    progress: Progress | None = None,
) -> list[Verified]:
    """Measure a file, or every model of a bundle, here or on a device over ssh.

    Raises:
        BudgetError: a budget that is no positive number.
        RecordError: no model and no bundle, cut short, or a path outside the bundle.
        MismatchError: a file that is not the one that was verified, or another's profile.
        TargetError: a device that cannot be reached or used.
        CheckFailedError: logits there that are not those here.
    """
    if max_latency_ms is not None and not (math.isfinite(max_latency_ms) and max_latency_ms > 0):
        raise BudgetError(f"must be a positive number, is {max_latency_ms}", subject="--max-latency-ms")
    loaded = load_profile(profile) if profile is not None else None
    if is_bundle(path):
        bundle = read_bundle(path)
        check_bundle(bundle)
        models: Mapping[str, bytes] = {f"{path}: {name}": bundle.files[name] for name in bundle.models}
    else:
        models = {str(path): read_bytes(path)}
    if loaded is not None and len(models) > 1:
        precision = loaded.fingerprint.get("precision", "fp32")
        models = {
            name: data
            for name, data in models.items()
            if read_metadata(data, name).get("precision", "fp32") == precision
        } or models
    shared: dict[str, Any] = {"profile": loaded, "budget_ms": max_latency_ms}
    if target is None:
        return [
            Verified(name=name, verification=verify_data(data, name, threads=threads, **shared))
            for name, data in models.items()
        ]
    asked = threads or max(threads_asked(read_metadata(d, n), loaded) for n, d in models.items())
    result = _run_there(models, target, ssh_options, asked, progress)
    return [_verified_there(name, data, result, shared) for name, data in models.items()]


def _run_there(
    models: Mapping[str, bytes],
    target: str,
    ssh_options: Sequence[str],
    threads: int,
    progress: Progress | None,
) -> Fields:
    kit = make_check_kit(models, threads=threads)
    name = f"check-{hashlib.sha256(kit).hexdigest()[:12]}"
    device = SshTarget(target, tuple(ssh_options))
    data = device.run_kit(kit, name, progress)
    device.remove_kit(name)
    try:
        return Fields(parse_json(data), target)
    except ValueError as error:
        raise RecordError("gave no result of a check", subject=target) from error


def _verified_there(name: str, data: bytes, result: Fields, shared: Mapping[str, Any]) -> Verified:
    found = result.fields("models").fields(name)
    device = result.fields("device").value
    measured = Measured(
        latency_ms=found.number("latency_ms", positive=True),
        p50_ms=found.number("p50_ms", positive=True),
        p90_ms=found.number("p90_ms", positive=True),
        p99_ms=found.number("p99_ms", positive=True),
        runs=found.integer("runs", 1),
        sentinel_ms=None,
    )
    if found.text("sha256") != hashlib.sha256(data).hexdigest():
        raise MismatchError("ran another file than was sent", subject=result.where)
    here = logits_of(open_session(data)).ravel()
    there = np.array(found.numbers("logits"))
    if there.shape != here.shape:
        raise RecordError(f"gave {there.size} logits, the model has {here.size}", subject=result.where)
    apart = float(np.abs(there - here).max())
    exact = read_metadata(data, name).get("precision", "fp32") == "fp32"
    if exact and not apart <= _TOLERANCE * max(1.0, float(np.abs(here).max())):
        raise CheckFailedError(f"its logits there differ from those here by {apart:.3g}", subject=name)
    return Verified(
        name=name,
        verification=verify_data(data, name, measured=measured, device=device, **shared),
        logits_apart=apart,
        logits_judged=exact,
        device=f"{device.get('cpu')}, onnxruntime {device.get('onnxruntime')}",
    )
