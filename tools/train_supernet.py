#!/usr/bin/env python3
"""Train the embedded supernet and its accuracy predictor: one command, seeded, resumable.

    tools/train_supernet.py --images CIFAR10_TRAIN.zip     (or a folder of class folders)

Without --images, torchvision downloads CIFAR-10. Run the same command again to go on where it stopped. The
recipe is TEACHER and STRETCHES in deploy_nas/workflows/train.py. If you raise the sandwich epochs there, a
finished run goes on from the point before its learning rate fell.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from deploy_nas.adapters.images import load_images
from deploy_nas.cli import show
from deploy_nas.core.errors import DeployNASError
from deploy_nas.core.spaces import embedded_space
from deploy_nas.training.memory import keep_memory
from deploy_nas.workflows.train import Files, train_predictor, train_supernet

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
    work.mkdir(parents=True, exist_ok=True)
    files = Files(
        work=work,
        weights=output / f"{space.id}.safetensors",
        predictor=output / f"{space.id}.accuracy.onnx",
        summary=output / f"{space.id}.training.json",
    )
    try:
        loaded = load_images(images or downloaded(work))
        show.say_reading(loaded.report)
        if only != "predictor":
            train_supernet(space, loaded, files, click.echo)
        if only != "weights":
            figures = train_predictor(space, loaded, files, subnets=subnets, seed=seed, log=click.echo)
            click.echo({name: value for name, value in figures.items() if name != "pairs"})
    except DeployNASError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    keep_memory()
    main()
