"""The certificate: what was promised, measured and compared, written into the file that was verified."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy_nas.adapters.graphs import graph_digest, read_metadata, with_metadata
from deploy_nas.core.errors import MismatchError
from deploy_nas.deploy.top1 import Top1
from deploy_nas.deploy.verify import Verification
from deploy_nas.device import machine
from deploy_nas.device.session import CPU_PROVIDER
from deploy_nas.records.files import read_bytes, write_atomic


def certificate_of(
    data: bytes, metadata: Mapping[str, Any], verification: Verification, threads: int, top1: Top1 | None
) -> dict[str, Any]:
    """What a verified file says of itself."""
    predicted: Mapping[str, Any] = metadata.get("predicted") or {}
    weights: Mapping[str, Any] = metadata.get("weights") or {}
    device = machine.fingerprint(
        threads=threads,
        provider=CPU_PROVIDER,
        provider_options={},
        precision=str(metadata.get("precision", "fp32")),
        pinned=True,
    )
    kept = ("cpu", "cores", "machine", "os", "threads", "provider", "onnxruntime", "precision")
    return {
        "graph_sha256": graph_digest(data),
        "weights_sha256": weights.get("sha256"),
        "profile": metadata.get("profile"),
        "budget_ms": verification.budget_ms,
        "predicted_ms": verification.predicted_ms,
        "bound_ms": verification.bound_ms,
        "confidence": predicted.get("confidence"),
        "measured": {k: v for k, v in asdict(verification.measured).items() if v is not None},
        "measured_on": {key: device[key] for key in kept},
        "within_budget": verification.within_budget,
        "agreement": metadata.get("agreement"),
        "top1": None
        if top1 is None
        else {
            "percent": top1.percent,
            "images": top1.images,
            "interval_percent": list(top1.interval_percent),
        },
    }


def certify(path: Path, verification: Verification, *, threads: int, top1: Top1 | None = None) -> str:
    """Write the certificate into the file that was verified; returns the sha256 of the result.

    Its graph stays byte for byte what was measured.

    Raises:
        MismatchError: the file is no longer the one that was measured.
    """
    data = read_bytes(path)
    if hashlib.sha256(data).hexdigest() != verification.sha256:
        raise MismatchError(
            "was changed after it was verified", subject=str(path), hint="export and verify it anew"
        )
    metadata = read_metadata(data, str(path))
    certificate = certificate_of(data, metadata, verification, threads, top1)
    certified = with_metadata(data, {"certificate": certificate})
    write_atomic(path, certified, force=True)
    return hashlib.sha256(certified).hexdigest()
