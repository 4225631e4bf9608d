"""``deploy-nas export``."""

from __future__ import annotations

from pathlib import Path

import click

from deploy_nas.cli import show


@click.command("export")
@click.argument("architecture", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="ONNX file  [ARCHITECTURE's name, .onnx]"
)
@click.option(
    "--weights", metavar="PATH|pretrained|random", help="Supernet weights  [the embedded space: its own]"
)
@click.option(
    "--calibration-images",
    type=click.Path(path_type=Path),
    help="Folder or zip of images: batch-norm statistics are estimated anew on them.",
)
@click.option("--calibration-limit", default=2000, show_default=True, help="Images used of them at most.")
@click.option("--labels", type=click.Path(path_type=Path), help="Text file, a class name a line.")
@click.option("--dynamic-batch", is_flag=True, help="Any batch size instead of 1.")
@click.option("--seed", default=0, show_default=True, help="Of random weights.")
@click.option("--force", is_flag=True, help="Replace the output.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    architecture: Path,
    output: Path | None,
    weights: str | None,
    calibration_images: Path | None,
    calibration_limit: int,
    labels: Path | None,
    dynamic_batch: bool,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Write the subnet of an ARCHITECTURE file as ONNX.

    The file is written only if its outputs in ONNX Runtime are those of ofa's own subnet.
    """
    from deploy_nas.workflows.deploy_subnet import ExportRequest, export_subnet

    path = output or architecture.with_suffix(".onnx")
    with show.status("exporting", quiet=as_json) as say:
        report = export_subnet(
            ExportRequest(
                architecture=architecture,
                output=path,
                weights=weights,
                calibration_images=calibration_images,
                calibration_limit=calibration_limit,
                labels=labels,
                dynamic_batch=dynamic_batch,
                seed=seed,
                force=force,
            ),
            say,
        )
    if as_json:
        show.emit_json(report.to_json())
        return
    click.echo(
        f"wrote {report.path}: {report.million_macs:.1f} million MACs, {report.parameters / 1e6:.2f} million "
        f"parameters, {report.size_bytes / 1e6:.2f} MB, opset {report.opset}"
    )
    click.echo(
        f"its outputs are those of ofa's own subnet: largest difference {report.max_difference:.2g} "
        f"({report.allowed_difference:.2g} allowed)"
    )
    if report.weights.recalibrated:
        click.echo(f"batch-norm statistics estimated anew on {report.weights.recalibrated} images")
    if report.warning:
        click.echo(report.warning, err=True)
