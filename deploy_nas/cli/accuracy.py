"""``deploy-nas accuracy``: collect, train."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy_nas.cli import numbers, show
from deploy_nas.cli.conventions import Group

if TYPE_CHECKING:
    from deploy_nas.accuracy.collect import Progress
    from deploy_nas.accuracy.heldout import HeldOut


@click.group("accuracy", cls=Group)
def command() -> None:
    """Make an accuracy predictor for your own supernet and images."""


@command.command("collect")
@click.option("--space", required=True, metavar="ID|FOLDER", help="Search space.")
@click.option(
    "--images", required=True, type=click.Path(path_type=Path), help="Folder or zip of class folders."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("subnets.jsonl"),
    show_default=True,
    help="File of measured subnets.",
)
@click.option(
    "--weights", metavar="PATH[:NAME]|pretrained", help="Supernet weights  [the embedded space: its own]"
)
@click.option(
    "--calibration-images", type=click.Path(path_type=Path), help="Images to recalibrate batch norm on."
)
@show.calibration_limit_option()
@click.option("--limit-per-class", type=numbers.IMAGES, help="Images per class, at most.")
@click.option("--mirrored", is_flag=True, help="Measure on mirrored images too: twice the time, less noise.")
@click.option(
    "--best-of",
    metavar="PREDICTOR",
    help="Measure the subnets that this predictor rates best, as a search would find them.",
)
@click.option(
    "--count", type=numbers.SUBNETS, default=300, show_default=True, help="Subnets that the file is to hold."
)
@show.seed_option("Seed for drawing the subnets.")
@click.option("--workers", type=numbers.WORKERS, help="Processes  [one per core]")
@show.cluster_option()
@show.json_option()
def collect(
    space: str,
    images: Path,
    output: Path,
    weights: str | None,
    calibration_images: Path | None,
    calibration_limit: int,
    limit_per_class: int | None,
    mirrored: bool,
    best_of: str | None,
    count: int,
    seed: int,
    workers: int | None,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Measure the top-1 of subnets on your images.

    Measures the smallest and the largest subnet first, then alternates between a draw stratified by MACs and
    a random one. A stopped run is resumed by the same command. With a trained predictor, --best-of and a
    larger count add the subnets that it overrates; train it again with those.
    """
    from deploy_nas.workflows.accuracy import CollectRequest, collect_accuracies

    request = CollectRequest(
        space=space,
        images=images,
        output=output,
        weights=weights,
        calibration=calibration_images,
        calibration_limit=calibration_limit,
        limit_per_class=limit_per_class,
        mirrored=mirrored,
        best_of=best_of,
        count=count,
        seed=seed,
        workers=workers,
        cluster=cluster,
    )
    with show.progress("measuring subnets", quiet=as_json) as update:

        def each(p: Progress) -> None:
            update(p.done, p.total, f"{p.top1_percent:.2f}%")

        done = collect_accuracies(request, each)
    show.say_reading(*done.readings)
    if as_json:
        value = {"path": str(output), **asdict(done)}
        value["skipped"] = [name for report in done.readings for name in report.skipped]
        value["readings"] = {report.source: report.reading().to_json() for report in done.readings}
        show.emit_json(value)
        return
    low, high = done.top1_percent
    show.say(
        f"measured {done.measured} subnets on {done.images} images; "
        f"{output} holds {done.subnets}, top-1 {low:.2f} to {high:.2f}%"
    )
    if done.promised_points is not None:
        show.say(
            f"predicted minus measured, mean of these {done.measured}: {done.promised_points:+.2f} points"
        )
    if high < 2 * done.chance_percent:
        show.say(
            f"note: guessing would score {done.chance_percent:.1f}%; are the class folders, numbers by "
            "value and other names alphabetically, in the order the supernet was trained on?",
            err=True,
        )


@command.command("train")
@click.argument("subnets", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("accuracy.onnx"),
    show_default=True,
    help="Accuracy predictor.",
)
@click.option(
    "--ensemble",
    type=numbers.MEMBERS,
    default=1,
    show_default=True,
    help="Members; their spread shows the uncertainty.",
)
@click.option("--held-out", default=0.2, show_default=True, help="Share of the subnets held out for judging.")
@click.option(
    "--plot",
    type=click.Choice(["svg", "none"]),
    default="svg",
    show_default=True,
    help="Calibration plot beside the output.",
)
@show.seed_option("Seed of the fit.")
@click.option("--force", is_flag=True, help="Replace the output.")
@show.json_option()
def train(
    subnets: Path,
    output: Path,
    ensemble: int,
    held_out: float,
    plot: str,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Fit a predictor to the file of measured SUBNETS and judge it on some of them held out."""
    from deploy_nas.accuracy.fit import FitSettings
    from deploy_nas.workflows.accuracy import fit_file

    picture = None if plot == "none" else show.beside(output, f".{plot}")
    settings = FitSettings(ensemble=ensemble, held_out=held_out, seed=seed)
    with show.status("fitting", quiet=as_json) as say:
        done = fit_file(subnets, output, settings, plot=picture, force=force, log=say)
    if done.plot_fault:
        show.say(f"note: no plot: {done.plot_fault}", err=True)
    if as_json:
        show.emit_json({"path": str(output), "plot": done.plot and str(done.plot), **done.figures.to_json()})
        return
    show.say(describe(done.figures))
    show.say(f"wrote {output}" + (f" and {done.plot}" if done.plot is not None else ""))


def describe(figures: HeldOut) -> str:
    """Held-out figures in a line or two."""
    lines = [
        f"on {len(figures.pairs)} subnets held out: mean absolute error {figures.mae_points:.2f} points, "
        f"rank correlation {figures.rank_correlation:.4f}"
    ]
    if figures.spread_correlation is not None and figures.within_two_spreads is not None:
        lines.append(
            f"ensemble spread: rank correlation {figures.spread_correlation:.2f} with the error, "
            f"{100 * figures.within_two_spreads:.0f}% of errors within two spreads"
        )
    return "\n".join(lines)
