"""``deploy-nas train``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy_nas.cli import numbers, show
from deploy_nas.core.reader import shell_quoted
from deploy_nas.core.spaces import PHOTOGRAPHS
from deploy_nas.training.launch import is_first
from deploy_nas.training.memory import yield_cores

if TYPE_CHECKING:
    from deploy_nas.workflows.train import Trained, TrainRequest


def training_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a training that ``train`` and ``build`` share; :func:`request_of` takes them."""
    options: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
        click.option(
            "--space",
            default=PHOTOGRAPHS,
            show_default=True,
            metavar="ID",
            help="Search space to start from.",
        ),
        click.option(
            "--weights",
            metavar="PATH[:NAME]|pretrained|embedded|random",
            help="Weights to start from  [the space's own]",
        ),
        click.option(
            "--validation",
            type=click.Path(path_type=Path),
            help="Images to judge by  [15% of each class are held out]",
        ),
        click.option(
            "--image-sizes", metavar="PX,PX", help="Image sizes to train  [those that suit the images]"
        ),
        click.option("--epochs", type=numbers.EPOCHS, help="How often each image is seen  [10]"),
        click.option("--minutes", type=float, help="Time for the training, instead of epochs."),
        click.option(
            "--batch-size", type=numbers.BATCH, default=32, show_default=True, help="Images per step."
        ),
        click.option("--no-flip", is_flag=True, help="Never mirror images, for text and the like."),
        click.option(
            "--device",
            type=click.Choice(["cpu", "cuda", "mps"]),
            help="Train on this  [cuda if there is one, else cpu]",
        ),
        click.option(
            "--subnets",
            type=numbers.SUBNETS_OR_NONE,
            default=160,
            show_default=True,
            help="Subnets to measure for the accuracy predictor; most are the best by the ones before.",
        ),
        click.option(
            "--workers", type=numbers.WORKERS, help="Processes that measure subnets  [one per core]"
        ),
        show.cluster_option(),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def request_of(
    images: Path, output: Path, *, image_sizes: str | None, no_flip: bool, **options: Any
) -> TrainRequest:
    """The options as a request."""
    from deploy_nas.workflows.train import TrainRequest

    return TrainRequest(
        images=images,
        output=output,
        image_sizes=show.whole_numbers(image_sizes, "--image-sizes"),
        flip=not no_flip,
        **options,
    )


@click.command("train")
@click.argument("images", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("supernet"),
    show_default=True,
    help="Folder for the supernet.",
)
@training_options
@show.seed_option("Seed of everything random.")
@click.option("--force", is_flag=True, help="Replace a supernet that the folder holds.")
@show.json_option()
def command(images: Path, output: Path, as_json: bool, **options: Any) -> None:
    """Train a supernet on your images.

    IMAGES is a folder or zip of class folders: CLASS/IMAGE.jpg. The network begins with pretrained weights
    and a new classifier. Its largest subnet is trained first, then all of them together, so that any subnet
    works without further training; the accuracy predictor that a search needs is made at the end.

    Ctrl-C keeps what was trained: the same command goes on. Every other command takes the folder as --space.
    """
    yield_cores()
    from deploy_nas.workflows.train import train

    request = request_of(images, output, **options)
    with show.timed_progress(quiet=as_json or not is_first()) as update:
        done = train(request, lambda line: show.say(line, err=True), update)
    show.say_reading(*done.readings)
    if as_json:
        show.emit_json({"path": str(output), **done.record.to_json()})
        return
    show.say(summary(done))
    folder = shell_quoted(output)
    show.say(
        "\nnext:\n"
        f"  deploy-nas profile --space {folder} -o my.profile.json\n"
        + (
            f"  deploy-nas search --space {folder} --profile my.profile.json --max-latency-ms MS\n"
            f"  deploy-nas export best.json --space {folder}"
            if done.predictor is not None
            else f"  deploy-nas accuracy collect --space {folder} --images VALIDATION_IMAGES"
        )
    )


def summary(done: Trained) -> str:
    """A table of the subnets that were measured, and lines about training and predictor."""
    record = done.record
    rows = []
    for subnet in record.subnets:
        low, high = subnet.top1.interval_percent
        rows.append([subnet.name, subnet.million_macs, subnet.top1.percent, f"{low:.1f} to {high:.1f}"])
    lines = [
        f"{record.space.id}: trained on {record.images.training} images for {record.training_s / 60:.1f} min "
        f"({record.device})",
        "",
        show.table(["subnet", "million MACs", "top-1 %", "95% interval"], rows),
        f"measured on {record.images.validation} images that it was not trained on",
    ]
    if done.predictor is not None:
        figures = done.predictor.held_out
        lines.append(
            f"accuracy predictor: mean error {figures.mae_points:.2f} points, rank correlation "
            f"{figures.rank_correlation:.3f}, on {len(figures.pairs)} subnets that it was not fitted to"
        )
    return "\n".join(lines)
