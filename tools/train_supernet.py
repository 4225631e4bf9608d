#!/usr/bin/env python3
"""Train the embedded supernet and its accuracy predictor: one command, seeded, resumable.

    tools/train_supernet.py --images CIFAR10_TRAIN.zip     (or a folder of class folders)

Without --images, CIFAR-10 is downloaded by torchvision. Run again, it goes on where it stopped.
With more --sandwich-epochs, it goes on from before the learning rate fell.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from deploy_nas.adapters.images import load_images
from deploy_nas.core.errors import DeployNASError
from deploy_nas.core.spaces import EMBEDDED, get_space
from deploy_nas.training.memory import keep_memory
from deploy_nas.training.sandwich import Recipe
from deploy_nas.workflows.train_embedded import Files, train_predictor, train_supernet

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
            image.save(path)
    return folder


@click.command()
@click.option("--images", type=click.Path(path_type=Path, exists=True), help="Zip or folder  [downloaded]")
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/embedded"), show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path), default=PACKAGE_DATA, help="Folder of the results."
)
@click.option("--start", type=click.Path(path_type=Path, exists=True), help="Weights to begin with  [random]")
@click.option("--batch-size", default=Recipe().batch_size, show_default=True)
@click.option("--peak-lr", default=Recipe().peak_lr, show_default=True)
@click.option("--muon-lr", default=Recipe().muon_lr, show_default=True)
@click.option("--largest-epochs", default=Recipe().largest_epochs, show_default=True)
@click.option("--sandwich-epochs", default=Recipe().sandwich_epochs, show_default=True)
@click.option("--decay-epochs", default=Recipe().decay_epochs, show_default=True)
@click.option("--frozen-steps", default=Recipe().frozen_steps, show_default=True)
@click.option("--subnets", default=800, show_default=True, help="Measured for the accuracy predictor.")
@click.option("--seed", default=0, show_default=True)
@click.option("--only", type=click.Choice(["weights", "predictor"]), help="One of the two steps.")
def main(
    images: Path | None,
    work: Path,
    output: Path,
    start: Path | None,
    batch_size: int,
    peak_lr: float,
    muon_lr: float,
    largest_epochs: float,
    sandwich_epochs: float,
    decay_epochs: float,
    frozen_steps: int,
    subnets: int,
    seed: int,
    only: str | None,
) -> None:
    """Train the embedded supernet and its accuracy predictor."""
    space = get_space(EMBEDDED)
    work.mkdir(parents=True, exist_ok=True)
    files = Files(
        work=work,
        weights=output / f"{space.id}.safetensors",
        predictor=output / f"{space.id}.accuracy.onnx",
        summary=output / f"{space.id}.training.json",
        start=start,
    )
    recipe = replace(
        Recipe(),
        batch_size=batch_size,
        peak_lr=peak_lr,
        muon_lr=muon_lr,
        largest_epochs=largest_epochs,
        sandwich_epochs=sandwich_epochs,
        decay_epochs=decay_epochs,
        frozen_steps=frozen_steps,
        seed=seed,
    )
    try:
        loaded = load_images(images or downloaded(work))
        if only != "predictor":
            train_supernet(space, loaded, files, recipe, click.echo)
        if only != "weights":
            click.echo(train_predictor(space, loaded, files, subnets=subnets, seed=seed, log=click.echo))
    except DeployNASError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    keep_memory()
    main()
