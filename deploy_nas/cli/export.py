"""``deploy-nas export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy_nas.cli import show

if TYPE_CHECKING:
    from deploy_nas.deploy.export import ExportReport
    from deploy_nas.deploy.quantize import QuantizeReport
    from deploy_nas.records.bundle import Manifest


@click.command("export")
@click.argument("architecture", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="ONNX file  [ARCHITECTURE's name, .onnx]"
)
@click.option(
    "--weights",
    metavar="PATH[:NAME]|pretrained|random",
    help="Supernet weights  [the embedded space: its own]",
)
@show.supernet_option("that has the weights and the names of the classes")
@click.option(
    "--calibration-images",
    type=click.Path(path_type=Path),
    help="Folder or zip of images to re-estimate batch-norm statistics on and to take INT8 ranges from.",
)
@show.calibration_limit_option()
@click.option(
    "--keep-statistics",
    is_flag=True,
    help="Take only INT8 ranges from the images: best for the embedded space, whose statistics are tuned.",
)
@click.option("--labels", type=click.Path(path_type=Path), help="Text file, one class name per line.")
@click.option("--dynamic-batch", is_flag=True, help="Accept any batch size instead of 1.")
@click.option(
    "--int8",
    is_flag=True,
    help="Also write an INT8 file (NAME.int8.onnx), if it is faster here and about as accurate.",
)
@click.option(
    "--int8-for",
    type=click.Choice(["auto", "vnni", "x86", "arm"]),
    default="auto",
    show_default=True,
    help="Processor to choose the INT8 number formats for; auto: this one.",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="DIR|ZIP",
    help="Verify here, and pack all that a device needs into a folder or zip.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Held-out class folders to measure top-1 on  [INT8: every fifth calibration image]",
)
@show.accuracy_drop_option()
@show.unstable_option("Certify, and judge INT8 by, figures measured on an unstable machine too.")
@show.seed_option("Seed of random weights.")
@click.option("--force", is_flag=True, help="Replace the output.")
@show.json_option()
def command(
    architecture: Path,
    output: Path | None,
    weights: str | None,
    space: str | None,
    calibration_images: Path | None,
    calibration_limit: int,
    keep_statistics: bool,
    labels: Path | None,
    dynamic_batch: bool,
    int8: bool,
    int8_for: str,
    bundle: Path | None,
    images: Path | None,
    max_accuracy_drop: float,
    allow_unstable: bool,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Write the subnet of an ARCHITECTURE file as ONNX.

    The file is written only if its outputs in ONNX Runtime match those of ofa's own subnet.
    Exits 1 if they differ, if INT8 is slower or loses too much accuracy, or if a bundled model misses its
    budget.
    """
    from deploy_nas.records.bundle import check_bundle_output
    from deploy_nas.workflows.bundle import bundle as make_bundle
    from deploy_nas.workflows.export import ExportRequest, export

    if images is not None and not int8 and bundle is None:
        raise click.UsageError(
            "--images needs --int8 or --bundle; to measure top-1 alone, use verify --images"
        )
    if int8_for != "auto" and not int8:
        raise click.UsageError("--int8-for needs --int8")
    if keep_statistics and not int8:
        raise click.UsageError(
            "--keep-statistics needs --int8: otherwise the calibration images would have no use"
        )
    if bundle is not None:
        check_bundle_output(bundle, force=force)
    request = ExportRequest(
        architecture=architecture,
        output=output or show.beside(architecture, ".onnx"),
        weights=weights,
        space=space,
        calibration_images=calibration_images,
        calibration_limit=calibration_limit,
        keep_statistics=keep_statistics,
        labels=labels,
        dynamic_batch=dynamic_batch,
        seed=seed,
        force=force,
        int8=int8,
        int8_for=int8_for,
        images=images,
        max_accuracy_drop=max_accuracy_drop,
        allow_unstable=allow_unstable,
        bundle=bundle,
    )
    with show.status("exporting", quiet=as_json) as say:
        exported = export(request, say, exported=None if as_json else tell)
    report, quantized = exported.report, exported.quantized
    if quantized is not None and not as_json:
        tell_int8(quantized)
    show.say_reading(*report.readings)  # INT8 uses the same images
    manifest = None
    if bundle is not None:
        with show.status("bundling", quiet=as_json) as say:
            bundled = make_bundle(request, exported, bundle, say)
        manifest, exported = bundled.manifest, bundled.exported
        show.say_reading(*(found for found in bundled.readings if found not in report.readings))
        if not as_json:
            tell_bundle(bundle, manifest)
    if as_json:
        value = exported.report.to_json()
        if exported.quantized is not None:
            value["int8"] = exported.quantized.to_json()
        if manifest is not None:
            value["bundle"] = manifest.to_json()
        show.emit_json(value)
    if manifest is not None and not manifest.keeps_budgets:
        raise SystemExit(1)


def tell(report: ExportReport) -> None:
    """An export in a few lines."""
    show.say(
        f"wrote {report.path}: {report.million_macs:.1f} million MACs, {report.parameters / 1e6:.2f} million "
        f"parameters, {report.size_bytes / 1e6:.2f} MB, opset {report.opset}"
    )
    show.say(
        f"its outputs match ofa's own subnet: largest difference {report.max_difference:.2g} "
        f"({report.allowed_difference:.2g} allowed)"
    )
    if report.weights.recalibrated:
        show.say(f"batch-norm statistics re-estimated on {report.weights.recalibrated} images")
    if report.warning:
        show.say(report.warning, err=True)


def tell_int8(report: QuantizeReport) -> None:
    """A quantisation in a few lines."""
    how = report.quantization
    show.say(
        f"wrote {report.path}: INT8 ({how.activations}; for {how.chosen_for}), "
        f"{len(report.model.data) / 1e6:.2f} MB, ranges from {how.calibration_images} images"
    )
    if report.speedup is None:
        show.say("its speed was not measured: it is for another processor")
    else:
        show.say(
            f"{report.int8_ms:.4g} ms against {report.float_ms:.4g} ms in fp32: "
            f"{report.speedup:.2f} times as fast"
        )
    before, after = report.float_top1, report.int8_top1
    if before is not None and after is not None:
        show.say(
            f"top-1 {after.percent:.2f}% against {before.percent:.2f}% in fp32, "
            f"on {after.images} held-out images"
        )
    else:
        show.say("top-1 was not measured: give --images with the model's class folders", err=True)
    show.say(f"both agree on {report.agreement_percent:.1f}% of {report.compared} images")


def tell_bundle(path: Path, manifest: Manifest) -> None:
    """A bundle in a few lines."""
    from deploy_nas.deploy.bundle import runtime_package

    for name, model in manifest.models.items():
        certificate = model.certificate
        if certificate is None:
            continue
        kept = "kept" if certificate.within_budget else "MISSED"
        budget = certificate.budget_ms
        beside = "" if budget is None else f"; budget {budget:.4g} ms {kept} here"
        show.say(f"{name}: verified, {certificate.measured.latency_ms:.4g} ms{beside}")
        for fault in certificate.measured.faults:
            show.say(f"{name}: UNSTABLE: {fault}")
    needs = f"needs numpy, {runtime_package(manifest)} and pillow"
    show.say(f"wrote {path}; to use it: python3 infer.py IMAGE ({needs})")
