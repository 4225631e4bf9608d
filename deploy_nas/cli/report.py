"""``deploy-nas report``."""

from __future__ import annotations

from pathlib import Path

import click

from deploy_nas.cli import show


@click.command("report")
@click.argument("architecture", type=click.Path(path_type=Path))
@click.option("--profile", required=True, type=click.Path(path_type=Path), help="Profile of the device.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="HTML page  [ARCHITECTURE.html]")
@click.option("--model", type=click.Path(path_type=Path), help="Exported file; measured here first.")
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Folder or zip of class folders to judge the --model on; not those that it was trained on.",
)
@click.option("--front", type=click.Path(path_type=Path), help="Front file of pareto  [computed now]")
@click.option(
    "--result",
    type=click.Path(path_type=Path),
    help="Result file of search  [the one beside ARCHITECTURE]",
)
@show.supernet_option("to report on too: its training")
@click.option(
    "--predictor",
    metavar="PATH|pretrained|embedded",
    help="Accuracy predictor  [the search's, or the space's]",
)
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="ARCH.json=TOP1|FILE",
    help="Re-base the predictor on accuracies you measured, in percent; may be repeated.",
)
@click.option("--force", is_flag=True, help="Replace the output.")
@show.json_option()
def command(
    architecture: Path,
    profile: Path,
    output: Path | None,
    model: Path | None,
    images: Path | None,
    front: Path | None,
    result: Path | None,
    space: str | None,
    predictor: str | None,
    anchors: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Write one self-contained HTML page about ARCHITECTURE.

    It shows the front, predicted against measured latencies, the latency of each layer, a drawing of the
    architecture, the profile's noise and validation, versions, and the commands to repeat it. With --images
    it also shows the accuracy of each class, what is taken for what, and the worst mistakes; with --space,
    the training of the supernet.
    """
    from deploy_nas.cli.repeat import commands_to_repeat
    from deploy_nas.workflows.report import ReportRequest, report

    path = output or show.beside(architecture, ".html")
    request = ReportRequest(
        architecture=architecture,
        profile=profile,
        output=path,
        front=front,
        result=result,
        model=model,
        images=images,
        predictor=predictor,
        space=space,
        anchors=anchors,
        force=force,
    )
    paths = {
        "profile": profile,
        "best": architecture,
        "model": model or architecture.with_suffix(".onnx"),
        "report": path,
    }
    if space is not None:
        paths["space"] = Path(space)
    if images is not None:
        paths["images"] = images
    with show.status("gathering figures", quiet=as_json):
        report(request, commands_to_repeat(paths))
    if as_json:
        show.emit_json({"path": str(path), "size_bytes": path.stat().st_size})
        return
    show.say(f"wrote {path}")
