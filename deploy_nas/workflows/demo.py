"""Write the demo page of an exported file, or of the model that a bundle's infer.py runs."""

from __future__ import annotations

from pathlib import Path

from deploy_nas.adapters.targets.browser import find_web_runtime
from deploy_nas.deploy.bundle import open_bundle
from deploy_nas.deploy.demo import make_demo
from deploy_nas.deploy.model_file import read_model
from deploy_nas.records.bundle import is_bundle
from deploy_nas.records.files import check_output, write_atomic


def write_demo(model: Path, output: Path, *, force: bool = False) -> int:
    """Write the page; returns its size in bytes.

    Args:
        model: an exported file, or a bundle.
        output: the page.
        force: replace the output.

    Raises:
        RecordError: neither a model nor a bundle, or a file that does not say how its images are prepared.
        MismatchError: a file of the bundle or of onnxruntime-web that was changed.
        ProviderError: onnxruntime-web is missing.
        OutputError: the page cannot be written, or exists already.
    """
    check_output(output, force=force)
    held = open_bundle(model)[1][-1] if is_bundle(model) else read_model(model)
    page = make_demo(held, find_web_runtime())
    write_atomic(output, page, force=force)
    return len(page)
