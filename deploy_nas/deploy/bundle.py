"""Bundles: verified files with all that a device needs to run them, and to check them again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib import metadata as packages
from importlib import resources
from pathlib import Path
from typing import Any

from deploy_nas.adapters.graphs import INPUT, OPSET, OUTPUT, read_metadata
from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.deploy.claims import checked_certificate, model_architecture
from deploy_nas.records.bundle import Bundle, write_bundle
from deploy_nas.records.files import read_bytes

INFER, README = "infer.py", "README.md"

_README = """# {space}, {size} pixels

An image classifier found, exported and verified by deploy-nas {version}.

    python3 -m pip install numpy onnxruntime pillow
    python3 infer.py IMAGE...

| file | precision | latency ms | measured on | top-1 |
|---|---|---|---|---|
{rows}

`manifest.json` has the architecture, what was predicted and measured, preprocessing, labels, where the
weights came from, and the sha256 of every file. `deploy-nas verify` on this folder or zip checks them,
and measures the models again. {warning}
"""


def make_bundle(models: Sequence[tuple[Path, str]], output: Path, *, force: bool = False) -> dict[str, Any]:
    """Bundle verified files; the last is the one that ``infer.py`` runs. Returns the manifest's object.

    Args:
        models: files that carry a certificate, each with the sha256 it had when that was written.
        output: a folder, or a zip where the name ends so.
        force: replace a bundle that is there.

    Raises:
        MismatchError: a file that is not the one that was verified, or never was.
        RecordError: a file that is no model of ours.
    """
    described = []
    files: dict[str, bytes] = {}
    for path, sha256 in models:
        data = read_bytes(path)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise MismatchError(
                "was changed after it was verified", subject=str(path), hint="export and verify it anew"
            )
        held = read_metadata(data, str(path))
        record = model_architecture(held, str(path))
        certificate = checked_certificate(data, held, str(path))
        if certificate is None:
            raise MismatchError("was not verified", subject=str(path), hint="verify it first")
        precision = str(held.get("precision", "fp32"))
        name = "model.onnx" if precision == "fp32" else f"model.{precision}.onnx"
        files[name] = data
        described.append(
            {
                "file": name,
                "precision": precision,
                "quantization": held.get("quantization"),
                "opset": OPSET,
                "input": INPUT,
                "output": OUTPUT,
                "predicted": held.get("predicted") or {},
                "certificate": certificate,
            }
        )
    version = packages.version("deploy-nas")
    manifest = {
        "made_with": f"deploy-nas {version}",
        "space": record.space.id,
        "architecture": {"space": record.space.id, **record.architecture},
        "preprocessing": held["preprocessing"],
        "labels": held.get("labels") or [],
        "weights": held.get("weights") or {},
        "models": described,
    }
    files[INFER] = resources.files("deploy_nas").joinpath("data/infer.py.in").read_bytes()
    files[README] = _readme(manifest, version).encode()
    return write_bundle(output, manifest, files, force=force)


def _readme(manifest: Mapping[str, Any], version: str) -> str:
    rows = []
    for model in manifest["models"]:
        certificate = model["certificate"]
        on, top1 = certificate["measured_on"], certificate["top1"]
        accuracy = f"{top1['percent']:.2f}% of {top1['images']} images" if top1 else "not measured"
        device = f"{on['cpu']}, {on['threads']} thread(s), onnxruntime {on['onnxruntime']}"
        latency = certificate["measured"]["latency_ms"]
        quantised = model["quantization"]
        precision = f"int8, for {quantised['chosen_for']}" if quantised else model["precision"]
        rows.append(f"| {model['file']} | {precision} | {latency:.4g} | {device} | {accuracy} |")
    trained = manifest["weights"].get("trained", True)
    return _README.format(
        space=manifest["space"],
        size=manifest["preprocessing"]["image_size"],
        version=version,
        rows="\n".join(rows),
        warning="" if trained else "\n\nUNTRAINED: the weights are random; only timing means anything.",
    )


def check_bundle(bundle: Bundle) -> None:
    """What the manifest says is what each model says of itself.

    Raises:
        MismatchError: it is not; names the key.
        RecordError: a manifest of no model.
    """
    if not bundle.models:
        raise RecordError("names no model", subject=bundle.manifest.where)
    for name, described in bundle.models.items():
        subject = f"{bundle.path}: {name}"
        held = read_metadata(bundle.files[name], subject)
        certificate = checked_certificate(bundle.files[name], held, subject)
        record = model_architecture(held, subject)
        for key, found in (
            ("space", record.space.id),
            ("architecture", {"space": record.space.id, **record.architecture}),
            ("preprocessing", held.get("preprocessing")),
            ("labels", held.get("labels") or []),
            ("weights", held.get("weights") or {}),
        ):
            if bundle.manifest.value.get(key) != found:
                raise MismatchError(f"the manifest's {key!r} is not the model's own", subject=subject)
        for key, found in (
            ("certificate", certificate),
            ("precision", held.get("precision", "fp32")),
            ("predicted", held.get("predicted") or {}),
        ):
            if described.value.get(key) != found:
                raise MismatchError(f"the manifest's {key!r} is not the model's own", subject=subject)
