"""The demo page of a model: one HTML file that classifies pictures in a browser, without any server."""

from __future__ import annotations

import base64
import gzip
import json
from importlib import resources

from deploy_nas.adapters.targets.browser import WebRuntime
from deploy_nas.deploy.model_file import ModelFile

_LIBRARY, _WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"


def make_demo(model: ModelFile, web: WebRuntime) -> bytes:
    """The page, with the model and onnxruntime-web inside; the same input gives the same bytes.

    Raises:
        RecordError: the file does not say how its images are prepared.
        ProviderError: onnxruntime-web lacks a file.
        MismatchError: one of its files is not as it was published.
    """
    said = model.metadata
    prepared = said.prepared_as(model.subject)
    size = prepared.image_size
    facts = {
        "title": f"{said.space.id}, {size} pixels, {said.precision}",
        "about": _about(model, web),
        "labels": list(said.labels),
        "preprocessing": prepared.to_json(),
    }
    parts = {
        "{library}": _packed(web.read(_LIBRARY)),
        "{wasm}": _packed(web.read(_WASM)),
        "{model}": _packed(model.data),
        "{program}": _data("demo.mjs").decode(),
        "{facts}": json.dumps(facts).replace("<", "\\u003c"),  # last: labels may hold any text
    }
    page = _data("demo.html").decode()
    for place, text in parts.items():
        before, _, after = page.partition(place)
        page = before + text + after
    return page.encode()


def _about(model: ModelFile, web: WebRuntime) -> str:
    certificate = model.metadata.certificate
    lines = [f"sha256 {model.sha256[:16]}, run by onnxruntime-web {web.version}."]
    if certificate is not None:
        lines.append(f"Measured as {certificate.measured.latency_ms:.4g} ms on {certificate.measured_on}.")
    if not model.metadata.trained:
        lines.append("Its weights are random: its answers mean nothing.")
    return " ".join(lines)


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


def _data(name: str) -> bytes:
    return resources.files("deploy_nas").joinpath("data", name).read_bytes()
