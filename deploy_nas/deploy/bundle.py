"""Bundles: verified models with all that a device needs to run them and to verify them again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import metadata as packages
from importlib import resources
from pathlib import Path

from deploy_nas.core.errors import MismatchError
from deploy_nas.core.fingerprint import ONNXRUNTIME
from deploy_nas.core.notices import notice
from deploy_nas.deploy.model_file import ModelFile, parse_model_file
from deploy_nas.records.bundle import Bundle, Manifest, check_manifest, read_bundle, write_bundle
from deploy_nas.records.model import UNTRAINED, ModelMetadata

INFER, README = "infer.py", "README.md"
_EARLIER_INFER = frozenset(
    {  # sha256 of every infer.py that bundles had before
        "7717257a30090a624795d2bc0802a4064eda881898bc1ce3b10a706e694e43cd",
        "487babaa9c424927f15cc561426e5db52c09d2d020666eff7f24af4bae91906c",
        "371f9b54a4915562809c7a1235c520e73652218bbb5ac588c8f5639b685aa3a3",
        "cadda41c7c973fdabf76bfe134427b2d627601349d39e72e3a17c6e8819bb419",
        "3510076458a62417b6ec24b8dde821dd21f534d4c2bc721ffc3ae224112f8537",
        "02928a7fb01e67c6ec1b3df462bbd21e813ade51efb2936b71e7350fdca487d1",
        "72c6f127b318641cb5f4ad183753de6645d7a78f615d01470431d268e0ca9fe2",
        "fd4563c160f8f9e2c55b017cea58e92ef9c310ee353be7b9f631c7120e0a32fa",
        "ca213c2f84fa415f151c23d531c600aa96ca2943366f0cd75f723987022cd163",
    }
)

_README = """# {space}, {size} pixels

An image classifier found, exported and verified by deploy-nas {version}.

    python3 -m pip install numpy {runtime} pillow
    python3 infer.py IMAGE...

| file | precision | latency ms | measured on | top-1 |
|---|---|---|---|---|
{rows}

`manifest.json` holds the architecture, predictions and measurements, preprocessing, labels, the origin of
the weights, and the sha256 of every file. `deploy-nas verify` on this folder or zip checks the files and
measures the models again.
{warning}"""


_UNTRAINED = f"\n{UNTRAINED}: the weights are random; use these files only for timing.\n"


def make_bundle(models: Sequence[ModelFile], output: Path, *, force: bool = False) -> Manifest:
    """Bundle certified models; ``infer.py`` runs the last.

    Args:
        models: with a certificate each.
        output: a folder, or a zip if the name ends in .zip.
        force: replace an existing bundle.

    Raises:
        MismatchError: a model without a certificate.
    """
    files: dict[str, bytes] = {}
    described: dict[str, ModelMetadata] = {}
    for model in models:
        if model.metadata.certificate is None:
            raise MismatchError("was not verified", subject=model.subject, hint="verify it first")
        precision = model.metadata.precision
        name = "model.onnx" if precision == "fp32" else f"model.{precision}.onnx"
        files[name], described[name] = model.data, model.metadata
    version = packages.version("deploy-nas")
    manifest = Manifest(made_with=f"deploy-nas {version}", models=described)
    files[INFER] = _infer()
    files[README] = _readme(manifest).encode()
    write_bundle(output, manifest, files, force=force)
    return manifest


def _infer() -> bytes:
    """The program of a bundle."""
    return resources.files("deploy_nas").joinpath("data/infer.py.in").read_bytes()


def _readme(manifest: Manifest) -> str:
    rows = []
    for name, model in manifest.models.items():
        certificate = model.certificate
        if certificate is None:  # bundles are made of certified models alone
            continue
        top1, on = certificate.top1, certificate.measured_on
        accuracy = "not measured"
        if top1 is not None:
            part = "" if top1.reading is None else top1.reading.part_of_classes
            accuracy = f"{top1.percent:.2f}% of {top1.images} images{part}"
        quantised = model.quantization
        precision = f"int8, for {quantised.chosen_for}" if quantised else model.precision
        latency = f"{certificate.measured.latency_ms:.4g}"
        rows.append(f"| {name} | {precision} | {latency} | {on} | {accuracy} |")
    said = manifest.shared
    return _README.format(
        space=said.space.id,
        size=said.image_size,
        version=manifest.made_with.removeprefix("deploy-nas "),
        rows="\n".join(rows),
        runtime=runtime_package(manifest),
        warning="" if said.trained else _UNTRAINED,
    )


def runtime_package(manifest: Manifest) -> str:
    """The package that ``infer.py`` needs: the runtime that the last model was measured with."""
    certificate = [*manifest.models.values()][-1].certificate
    return ONNXRUNTIME if certificate is None else certificate.measured_on.runtime


def open_bundle(path: Path) -> tuple[Bundle, list[ModelFile]]:
    """Read a bundle and its models, checked against the manifest, as far as they can be believed.

    Raises:
        RecordError: not a bundle, cut short, or a manifest without models.
        MismatchError: a file that has changed since it was bundled, a manifest that contradicts a model, or
            an ``infer.py`` that deploy-nas did not write.
    """
    bundle = read_bundle(path)
    if INFER in bundle.files and (program := bundle.files[INFER]) != _infer():
        if hashlib.sha256(program).hexdigest() not in _EARLIER_INFER:
            raise MismatchError(
                "is not the program that deploy-nas puts into bundles",
                subject=f"{path}: {INFER}",
                hint="do not run it; export the bundle again",
            )
        notice("is of an earlier deploy-nas", subject=f"{path}: {INFER}")
    models = [parse_model_file(bundle.files[name], f"{path}: {name}") for name in bundle.models]
    described = {name: model.metadata for name, model in zip(bundle.models, models, strict=True)}
    manifest = check_manifest(bundle, described)
    if README in bundle.files and bundle.files[README] != _readme(manifest).encode():
        notice(
            "is not as this deploy-nas writes it: its figures were not checked", subject=f"{path}: {README}"
        )
    return bundle, [model.believed() for model in models]
