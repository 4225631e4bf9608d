"""What an exported file says of itself, checked before anything is believed."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from deploy_nas.adapters.graphs import graph_digest, input_of
from deploy_nas.core.errors import MismatchError
from deploy_nas.core.fields import Fields
from deploy_nas.core.precision import sums_exactly
from deploy_nas.device import machine
from deploy_nas.records.architecture import ArchitectureRecord, parse_architecture
from deploy_nas.records.profile import Profile


def model_architecture(metadata: Mapping[str, Any], subject: str) -> ArchitectureRecord:
    """The architecture an exported file says it is; raises :class:`RecordError` for a file not ours."""
    value = metadata.get("architecture")
    if not isinstance(value, dict):
        raise MismatchError("was not exported by deploy-nas: it names no architecture", subject=subject)
    return parse_architecture(Fields({"space": metadata.get("space"), **value}, f"{subject}: architecture"))


def checked_certificate(data: bytes, metadata: Mapping[str, Any], subject: str) -> Mapping[str, Any] | None:
    """The file's certificate, if it has one; raises :class:`MismatchError` where the graph is another."""
    certificate = metadata.get("certificate")
    if certificate is None:
        return None
    if not isinstance(certificate, dict) or certificate.get("graph_sha256") != graph_digest(data):
        raise MismatchError(
            "was changed after it was verified: its certificate is of another graph",
            subject=subject,
            hint="export and verify it anew",
        )
    fields = Fields(certificate, f"{subject}: certificate")
    fields.fields("measured").number("latency_ms", positive=True)
    on = fields.fields("measured_on")
    on.text("cpu")
    on.text("onnxruntime")
    on.integer("threads", 1)
    return certificate


def checked_batch(data: bytes, record: ArchitectureRecord, subject: str) -> int | None:
    """The batch size the file is for, ``None``: any.

    Raises:
        MismatchError: its input is not float32 images of the architecture's size.
    """
    kind, (batch, *image) = input_of(data, subject)
    side = record.architecture["image_size"]
    if kind != "float32" or image != [3, side, side]:
        shape = ", ".join(map(str, [batch or "batch", *image]))
        raise MismatchError(
            f"takes {kind} [{shape}], its architecture float32 [batch, 3, {side}, {side}]",
            subject=subject,
            hint="it was changed after it was exported; export it anew",
        )
    return batch


def misfits(metadata: Mapping[str, Any], device: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Why a file does not do here, or on the device of that fingerprint, what its architecture says."""
    stated = metadata.get("quantization")
    bits = stated.get("weight_bits") if isinstance(stated, dict) else None
    features = machine.cpu_features() if device is None else device.get("cpu_features") or []
    kind = platform.machine() if device is None else str(device.get("machine"))
    if not isinstance(bits, int) or sums_exactly(bits, features, kind):
        return ()
    return (
        "its INT8 weights are of 8 bits, whose sums overflow on this processor: it classifies worse than it "
        "should; export with --int8-for x86",
    )


def threads_asked(metadata: Mapping[str, Any], profile: Profile | None) -> int:
    """Intra-op threads to measure with: the profile's, else those the file was searched for."""
    if profile is not None:
        return int(profile.fingerprint.get("threads", 1))
    predicted = metadata.get("predicted")
    threads = predicted.get("threads", 1) if isinstance(predicted, dict) else 1
    return threads if isinstance(threads, int) and threads >= 1 else 1
