"""``deploy-nas finetune``."""

from __future__ import annotations

from pathlib import Path

import click

from deploy_nas.cli import numbers, show
from deploy_nas.core.reader import shell_quoted
from deploy_nas.training.memory import yield_cores


@click.command("finetune")
@click.argument("architecture", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.option(
    "--space",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder of its supernet.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Weights  [ARCHITECTURE.tuned.safetensors]"
)
@click.option(
    "--validation",
    type=click.Path(path_type=Path),
    help="Images to judge by  [15% of each class are held out]",
)
@click.option(
    "--epochs", type=numbers.EPOCHS, default=4.0, show_default=True, help="How often each image is seen."
)
@click.option("--batch-size", type=numbers.BATCH, default=32, show_default=True, help="Images per step.")
@click.option("--no-flip", is_flag=True, help="Never mirror images, for text and the like.")
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda", "mps"]),
    help="Train on this  [cuda if there is one, else cpu]",
)
@show.seed_option("Seed of everything random.")
@click.option("--force", is_flag=True, help="Replace the output.")
@show.json_option()
def command(
    architecture: Path,
    images: Path,
    space: Path,
    output: Path | None,
    validation: Path | None,
    epochs: float,
    batch_size: int,
    no_flip: bool,
    device: str | None,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Train the subnet of an ARCHITECTURE file further, alone, on the IMAGES of its supernet.

    The supernet's largest subnet teaches it. The weights are written only if they classify more of the
    validation images right than the supernet's; export them with --weights.

    Exits 1 if it did not become better.
    """
    yield_cores()
    from deploy_nas.workflows.finetune import FinetuneRequest, finetune

    request = FinetuneRequest(
        architecture=architecture,
        space=space,
        images=images,
        output=output or show.beside(architecture, ".tuned.safetensors"),
        validation=validation,
        epochs=epochs,
        batch_size=batch_size,
        flip=not no_flip,
        device=device,
        seed=seed,
        force=force,
    )
    with show.timed_progress(quiet=as_json) as update:
        done = finetune(request, lambda line: show.say(line, err=True), update)
    if as_json:
        show.emit_json(
            {
                "before": done.before.to_json(),
                "after": done.after.to_json(),
                "training_s": done.training_s,
                "path": None if done.weights is None else str(done.weights),
            }
        )
    else:
        show.say(
            f"top-1 {done.after.percent:.2f}% against {done.before.percent:.2f}% before, on "
            f"{done.after.images} validation images, after {done.training_s / 60:.1f} min"
        )
        if done.weights is None:
            show.say("it did not become better: nothing was written, export it with the supernet's weights")
        else:
            path, folder = shell_quoted(done.weights), shell_quoted(space)
            best = shell_quoted(architecture)
            show.say(
                f"wrote {done.weights}; next: deploy-nas export {best} --space {folder} --weights {path}"
            )
    if done.weights is None:
        raise SystemExit(1)
