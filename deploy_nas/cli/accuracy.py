"""``deploy-nas accuracy``: collect, train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy_nas.cli import show

if TYPE_CHECKING:
    from deploy_nas.accuracy.collect import Progress


@click.group("accuracy")
def command() -> None:
    """Make an accuracy predictor for your own supernet and images."""


@command.command("collect")
@click.option("--space", required=True, metavar="ID", help="Search space.")
@click.option(
    "--images", required=True, type=click.Path(path_type=Path), help="Folder or zip of class folders."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("subnets.jsonl"), show_default=True
)
@click.option("--weights", metavar="PATH|pretrained", help="Supernet weights  [the embedded space: its own]")
@click.option(
    "--calibration-images", type=click.Path(path_type=Path), help="Recalibrate batch norm on these."
)
@click.option("--limit-per-class", type=click.IntRange(1), help="Images of each class at most.")
@click.option("--count", default=300, show_default=True, help="Subnets the file shall hold.")
@click.option("--seed", default=0, show_default=True, help="Draws the subnets.")
def collect(
    space: str,
    images: Path,
    output: Path,
    weights: str | None,
    calibration_images: Path | None,
    limit_per_class: int | None,
    count: int,
    seed: int,
) -> None:
    """Measure subnets on your images. Run again, it goes on where it stopped."""
    from deploy_nas.workflows.train_accuracy import CollectRequest, collect_accuracies

    request = CollectRequest(
        space=space,
        images=images,
        output=output,
        weights=weights,
        calibration=calibration_images,
        limit_per_class=limit_per_class,
        count=count,
        seed=seed,
    )
    with show.progress("measuring subnets") as update:

        def each(p: Progress) -> None:
            update(p.done, p.total, f"{p.top1_percent:.2f}%")

        measured = collect_accuracies(request, each)
    click.echo(f"measured {measured} subnets; {output} holds {count}")


@command.command("train")
@click.argument("subnets", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("accuracy.onnx"), show_default=True
)
@click.option("--ensemble", default=1, show_default=True, help="Members; their spread says how unsure it is.")
@click.option("--seed", default=0, show_default=True)
@click.option("--force", is_flag=True, help="Replace the output.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def train(subnets: Path, output: Path, ensemble: int, seed: int, force: bool, as_json: bool) -> None:
    """Fit a predictor to the file of measured SUBNETS, judged on a fifth of them held out."""
    from deploy_nas.workflows.train_accuracy import fit_file

    with show.status("fitting", quiet=as_json) as say:
        figures = fit_file(subnets, output, ensemble=ensemble, seed=seed, force=force, log=say)
    if as_json:
        show.emit_json({"path": str(output), **figures.to_json()})
        return
    click.echo(
        f"on {len(figures.pairs)} subnets held out: mean absolute error {figures.mae_points:.2f} points, "
        f"rank correlation {figures.rank_correlation:.4f}"
    )
    click.echo(f"wrote {output}")
