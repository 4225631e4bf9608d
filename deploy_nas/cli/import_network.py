"""``deploy-nas import``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from deploy_nas.cli import numbers, show


@click.command("import")
@click.argument("net_config", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Architecture file  [the folder's name, .json]"
)
@click.option(
    "--image-size", type=numbers.SIDE, help="Side of its images, pixels  [from run.config beside it]"
)
@click.option("--space", metavar="ID|FOLDER", help="Search space to look in  [all of them]")
@click.option("--force", is_flag=True, help="Replace the output.")
@show.json_option()
def command(
    net_config: Path,
    output: Path | None,
    image_size: int | None,
    space: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Convert an OFA NET_CONFIG (the file, or its folder) to an architecture file."""
    from deploy_nas.core.seals import sealed
    from deploy_nas.records.architecture import save_architecture
    from deploy_nas.workflows.import_network import import_network

    record = import_network(net_config, image_size=image_size, space=space)
    named = Path(os.path.abspath(net_config))  # noqa: PTH100 - a link keeps the name it was given by
    folder = named if net_config.is_dir() else named.parent
    path = output or Path(f"{folder.name}.json")
    save_architecture(record, path, force=force)
    if as_json:
        show.emit_json(sealed(record.to_json()))
        return
    layers = record.space.layers(record.architecture)
    macs = sum(layer.macs for _, layer in layers) / 1e6
    show.say(
        f"{path}: {record.space.id}, {len(layers)} layers, {record.image_size} px, {macs:.1f} million MACs"
    )
