"""``deploy-nas search``."""

from __future__ import annotations

from pathlib import Path

import click

from deploy_nas.cli import show


@click.command("search")
@click.option("--profile", required=True, type=click.Path(path_type=Path), help="Profile of the device.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("best.json"), show_default=True)
@click.option("--max-latency-ms", type=float, help="Latency budget, as measured on the device.")
@click.option("--max-macs-millions", type=float, help="Millions of multiply-accumulates.")
@click.option("--max-params-millions", type=float, help="Millions of parameters.")
@click.option(
    "--max-peak-memory-kb", type=float, help="Peak activation memory, KB (see --bytes-per-element)."
)
@click.option(
    "--bytes-per-element", type=click.Choice(["1", "4"]), default="1", help="1 for int8, 4 for fp32  [1]"
)
@click.option(
    "--confidence",
    default="0.95",
    show_default=True,
    metavar="P|none",
    help="That the latency budget is kept.",
)
@click.option(
    "--predictor",
    metavar="PATH|pretrained|embedded",
    help="Accuracy predictor  [the embedded space: its own]",
)
@click.option("--image-sizes", metavar="N,N", help="Sizes to search  [all that were profiled]")
@click.option("--population", default=100, show_default=True, help="Children a generation.")
@click.option("--generations", default=500, show_default=True, help="Generations.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same subnet.")
@click.option("--allow-unstable", is_flag=True, help="Take a profile that doubts itself.")
@click.option("--force", is_flag=True, help="Replace the output.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    profile: Path,
    output: Path,
    max_latency_ms: float | None,
    max_macs_millions: float | None,
    max_params_millions: float | None,
    max_peak_memory_kb: float | None,
    bytes_per_element: str,
    confidence: str,
    predictor: str | None,
    image_sizes: str | None,
    population: int,
    generations: int,
    seed: int,
    allow_unstable: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Find the most accurate subnet within budgets and write it as an architecture file.

    Ctrl-C gives the best found so far.
    """
    from deploy_nas.workflows.search_subnets import SearchRequest, search_file

    if confidence.lower() == "none":
        level = None
    else:
        try:
            level = float(confidence)
        except ValueError:
            raise click.BadParameter(
                f"{confidence!r} is no number, nor none", param_hint="--confidence"
            ) from None
    asked = {
        "latency_ms": max_latency_ms,
        "millionMACs": max_macs_millions,
        "params_million": max_params_millions,
        "KBPeakMemory": max_peak_memory_kb,
    }
    request = SearchRequest(
        budgets={name: bound for name, bound in asked.items() if bound is not None},
        confidence=level,
        predictor=predictor,
        image_sizes=show.whole_numbers(image_sizes, "--image-sizes"),
        bytes_per_element=int(bytes_per_element),
        hyper={"population_size": population, "max_time_budget": generations},
        seed=seed,
        allow_unstable=allow_unstable,
    )
    with show.progress("searching", quiet=as_json) as update:
        record, result, used = search_file(profile, output, request, force=force, progress=update)
    if as_json:
        show.emit_json({"path": str(output), "interrupted": result.interrupted, **record.to_json()})
        return
    p = record.predicted
    if result.interrupted:
        click.echo("stopped: the best found so far")
    click.echo(
        f"{record.space.id} at {record.architecture['image_size']} px, of {result.evaluations} evaluated"
    )
    unsure = f" (unsure by {p['accuracy_spread']:.2g})" if "accuracy_spread" in p else ""
    sign = "%" if p["accuracy_unit"] == "percent" else ""
    click.echo(f"predicted accuracy {p['accuracy']:.4g}{sign}{unsure}")
    if used.note:
        click.echo(f"  ({used.note})")
    click.echo(
        f"predicted latency {p['latency_ms']:.4g} ms, at most {p['bound_ms']:.4g} ms by the profile's bound"
    )
    click.echo(
        f"{p['millionMACs']:.1f} million MACs, {p['params_million']:.2f} million parameters, "
        f"peak memory {p['KBPeakMemory']:.0f} KB"
    )
    click.echo(f"wrote {output}")
