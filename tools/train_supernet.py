#!/usr/bin/env python3
"""Train the embedded supernet and its accuracy predictor: one command, seeded, resumable.

    tools/train_supernet.py --images CIFAR10_TRAIN.zip     (or a folder of class folders)

Without --images, torchvision downloads CIFAR-10. Run the same command again to go on where it stopped. The
recipe is EMBEDDED in deploy_nas/training/plans.py. If you raise the sandwich epochs there, a
finished run goes on from the point before its learning rate fell.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import click

from deploy_nas.adapters.images import at_sizes, load_images
from deploy_nas.cli import show
from deploy_nas.core.errors import DeployNASError
from deploy_nas.core.seals import sealed
from deploy_nas.core.spaces import embedded_space
from deploy_nas.records.files import make_folder, write_json
from deploy_nas.records.supernet import PREDICTOR, WEIGHTS
from deploy_nas.training.memory import keep_memory
from deploy_nas.training.plans import EMBEDDED
from deploy_nas.workflows.subnet_accuracy import PredictorSettings, fit_predictor
from deploy_nas.workflows.train import train_on
from deploy_nas.workflows.training_images import TrainingImages, held_out_split

PACKAGE_DATA = Path(__file__).resolve().parents[1] / "deploy_nas" / "data"


def downloaded(work: Path) -> Path:
    """CIFAR-10 by torchvision, as a folder of class folders."""
    from torchvision.datasets import CIFAR10

    data = CIFAR10(str(work / "download"), train=True, download=True)
    folder = work / "cifar10-train"
    for index, (image, label) in enumerate(data):
        path = folder / data.classes[label] / f"{index:05d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            image.save(part, "PNG")
            part.replace(path)
    return folder


@click.command()
@click.option("--images", type=click.Path(path_type=Path, exists=True), help="Zip or folder  [downloaded]")
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/embedded"), show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path), default=PACKAGE_DATA, help="Folder for the results."
)
@click.option(
    "--subnets", default=800, show_default=True, help="Subnets to measure for the accuracy predictor."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the predictor.")
@click.option("--only", type=click.Choice(["weights", "predictor"]), help="Run only one of the two steps.")
def main(
    images: Path | None,
    work: Path,
    output: Path,
    subnets: int,
    seed: int,
    only: str | None,
) -> None:
    """Train the embedded supernet and its accuracy predictor."""
    space = embedded_space()
    try:
        make_folder(work)
        loaded = load_images(images or downloaded(work))
        show.say_reading(loaded.report)
        training, held_out = held_out_split(loaded)
        given = TrainingImages(
            training=training, validation=at_sizes(held_out, space.image_sizes), own_split=True
        )
        if only != "predictor":
            record = train_on(space, given, work, EMBEDDED, weights="random", log=click.echo)
            (output / f"{space.id}.safetensors").write_bytes((work / WEIGHTS).read_bytes())
            write_json(output / f"{space.id}.training.json", sealed(record.to_json()), force=True)
        if only != "weights":
            settings = PredictorSettings(subnets=subnets, best=(80, 80, 80, 80), judged=40, seed=seed)
            made = fit_predictor(space, given, work, settings, log=click.echo)
            (output / f"{space.id}.accuracy.onnx").write_bytes((work / PREDICTOR).read_bytes())
            click.echo(made.of_the_best)
        for kind in ("safetensors", "accuracy.onnx"):
            digest = hashlib.sha256((output / f"{space.id}.{kind}").read_bytes()).hexdigest()
            click.echo(f"{kind}: sha256 {digest}, which core/spaces.py must name")
    except DeployNASError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    keep_memory()
    main()
