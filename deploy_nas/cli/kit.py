"""``deploy-nas kit``: make, import."""

from __future__ import annotations

from pathlib import Path

import click

from deploy_nas.cli import show


@click.group("kit")
def command() -> None:
    """Profile a device that deploy-nas is not installed on.

    The kit is one file; the device needs python3, numpy and onnxruntime.
    """


@command.command("make")
@click.option("--space", required=True, metavar="ID", help="Search space.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("kit.pyz"), show_default=True)
@click.option("--threads", default=1, show_default=True, help="Intra-op threads on the device.")
@click.option("--image-sizes", metavar="N,N", help="Sizes to profile  [the space's list]")
@click.option("--provider", default="cpu", show_default=True, help="Execution provider on the device.")
@click.option(
    "--provider-option", multiple=True, metavar="KEY=VALUE", help="Option of the provider; may repeat."
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "int8"]),
    default="fp32",
    show_default=True,
    help="Of the networks timed.",
)
@click.option(
    "--int8-for",
    type=click.Choice(["auto", "vnni", "x86", "arm"]),
    default="auto",
    show_default=True,
    help="Processor INT8's number formats are for; auto: this one.",
)
@click.option("--quick", is_flag=True, help="Fewer networks: less precise.")
@click.option("--seed", default=0, show_default=True)
@click.option("--force", is_flag=True, help="Replace the output.")
def make(
    space: str,
    output: Path,
    threads: int,
    image_sizes: str | None,
    provider: str,
    provider_option: tuple[str, ...],
    precision: str,
    int8_for: str,
    quick: bool,
    seed: int,
    force: bool,
) -> None:
    """Write a kit."""
    from deploy_nas.workflows.kit import write_kit
    from deploy_nas.workflows.profile_device import ProfileRequest

    if int8_for != "auto" and precision != "int8":
        raise click.UsageError("--int8-for needs --precision int8")
    size = write_kit(
        ProfileRequest(
            space=space,
            output=output,
            threads=threads,
            image_sizes=show.whole_numbers(image_sizes, "--image-sizes"),
            provider=provider,
            provider_options=show.key_values(provider_option, "--provider-option"),
            quick=quick,
            precision=precision,
            int8_for=int8_for,
            seed=seed,
            force=force,
        )
    )
    click.echo(f"wrote {output} ({size / 1e6:.1f} MB); on the device: python3 {output.name} -o result.jsonl")
    click.echo("then here: deploy-nas kit import result.jsonl -o device.profile.json")


@command.command("import")
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("device.profile.json"), show_default=True
)
@click.option("--force", is_flag=True, help="Replace the output.")
def import_kit(result: Path, output: Path, force: bool) -> None:
    """Check a kit's RESULT and write the device's profile."""
    from deploy_nas.cli.profiles import summary
    from deploy_nas.workflows.kit import import_result

    click.echo(summary(import_result(result, output, force=force)))
    click.echo(f"wrote {output}")
