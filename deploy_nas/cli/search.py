"""``deploy-nas search``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy_nas.cli import show

if TYPE_CHECKING:
    from deploy_nas.records.architecture import ArchitectureRecord

_BUDGETS = {
    "max_macs_millions": "millionMACs",
    "max_params_millions": "params_million",
    "max_peak_memory_kb": "KBPeakMemory",
    "max_model_mb": "model_mb",
}


def question_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What search, pareto and explain have in common; see :func:`request_of`."""
    options = [
        click.option(
            "--profile",
            "profiles",
            multiple=True,
            type=click.Path(path_type=Path),
            help="Profile of the device; may repeat, for several devices.",
        ),
        click.option("--max-macs-millions", type=float, help="Millions of multiply-accumulates."),
        click.option("--max-params-millions", type=float, help="Millions of parameters."),
        click.option(
            "--max-peak-memory-kb", type=float, help="Peak activation memory, KB (see --bytes-per-element)."
        ),
        click.option("--max-model-mb", type=float, help="Size of the exported fp32 file, 10^6 bytes."),
        click.option(
            "--bytes-per-element",
            type=click.Choice(["1", "4"]),
            default="1",
            help="1 for int8, 4 for fp32  [1]",
        ),
        click.option(
            "--predictor",
            metavar="PATH|pretrained|embedded",
            help="Accuracy predictor  [the embedded space: its own]",
        ),
        click.option(
            "--anchor",
            "anchors",
            multiple=True,
            metavar="ARCH.json=TOP1|FILE",
            help="Re-base the predictor on accuracies you measured, in percent; may repeat.",
        ),
        click.option("--allow-unstable", is_flag=True, help="Take a profile that doubts itself."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def request_of(
    *,
    profiles: tuple[Path, ...],
    max_latency_ms: tuple[float, ...],
    confidence: str,
    bytes_per_element: str,
    **options: Any,
) -> tuple[Any, Any]:
    """The first device's profile, and the request that the options make."""
    from deploy_nas.workflows.question import LATENCY, SearchRequest, load_devices

    level = None
    if confidence.lower() != "none":
        try:
            level = float(confidence)
        except ValueError:
            raise click.BadParameter(
                f"{confidence!r} is no number, nor none", param_hint="--confidence"
            ) from None
    if not profiles:
        raise click.UsageError("Missing option '--profile'.")
    profile, budget_ms, others = load_devices(profiles, max_latency_ms)
    asked = {LATENCY: budget_ms}
    asked |= {figure: options.pop(option) for option, figure in _BUDGETS.items()}
    budgets = {name: bound for name, bound in asked.items() if bound is not None}
    request = SearchRequest(
        budgets=budgets,
        others=others,
        confidence=level,
        bytes_per_element=int(bytes_per_element),
        **options,
    )
    return profile, request


def describe(record: ArchitectureRecord) -> str:
    """What is predicted of an architecture, in a few lines, known bias included."""
    p = record.predicted
    sign = "%" if p["accuracy_unit"] == "percent" else ""
    unsure = f" (unsure by {p['accuracy_spread']:.2g})" if "accuracy_spread" in p else ""
    lines = [f"predicted accuracy {p['accuracy']:.4g}{sign}{unsure}"]
    if p.get("accuracy_note"):
        lines.append(f"  ({p['accuracy_note']})")
    lines.append(_latency(p, ""))
    lines += [_latency(other, f" on {other['device']}") for other in p.get("others", [])]
    if "measured_ms" in p:
        lines.append(f"measured latency {p['measured_ms']:.4g} ms")
    lines.append(
        f"{p['millionMACs']:.1f} million MACs, {p['params_million']:.2f} million parameters, "
        f"peak memory {p['KBPeakMemory']:.0f} KB, a file of at most {p['model_mb']:.2f} MB"
    )
    return "\n".join(lines)


def _latency(p: dict[str, Any], where: str) -> str:
    bound = p["bound_ms"]
    least = (
        "no bound (an unvalidated profile, or none asked for)"
        if bound is None
        else f"at most {bound:.4g} ms by its bound"
    )
    return f"predicted latency {p['latency_ms']:.4g} ms{where}, {least}"


@click.command("search")
@question_options
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("best.json"), show_default=True)
@click.option(
    "--max-latency-ms",
    type=float,
    multiple=True,
    help="Latency budget, as measured on the device; one for each --profile, in order.",
)
@click.option(
    "--confidence",
    default="0.95",
    show_default=True,
    metavar="P|none",
    help="That the latency budget is kept.",
)
@click.option("--image-sizes", metavar="N,N", help="Sizes to search  [all that were profiled]")
@click.option("--population", default=1000, show_default=True, help="Children a generation.")
@click.option("--generations", default=50, show_default=True, help="Generations.")
@click.option(
    "--measure-top",
    type=click.IntRange(1),
    metavar="N",
    help="Export and time the N best here; take the best that truly meets the budget.",
)
@click.option("--weights", help="For --measure-top, as in export  [random: timing does not depend on them]")
@show.seed_option("The same seed gives the same subnet.")
@click.option("--force", is_flag=True, help="Replace the output.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    output: Path,
    image_sizes: str | None,
    population: int,
    generations: int,
    measure_top: int | None,
    weights: str | None,
    seed: int,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the most accurate subnet within budgets and write it as an architecture file.

    The best candidates go beside it, into NAME.search.json. Ctrl-C gives the best found so far.

    Exits 1 if --measure-top finds none that meets the budget.
    """
    from deploy_nas.workflows.search_subnets import result_path, search_file

    profile, request = request_of(
        **options,
        image_sizes=show.whole_numbers(image_sizes, "--image-sizes"),
        hyper={"population_size": population, "max_time_budget": generations},
        seed=seed,
    )
    with show.progress("searching", quiet=as_json) as update:
        found = search_file(
            profile,
            output,
            request,
            measure_top=measure_top or 0,
            weights=weights or "random",
            force=force,
            progress=update,
            measuring=lambda done, total, what: update(done, total, f"and timing: {what}"),
        )
    record, result = found.record, found.result
    if as_json:
        value = {"path": str(output), "result": str(result_path(output)), "interrupted": result.interrupted}
        show.emit_json({**value, **record.to_json()})
        return
    if result.interrupted:
        click.echo("stopped: the best found so far")
    click.echo(
        f"{record.space.id} at {record.architecture['image_size']} px, of {result.evaluations} evaluated"
    )
    click.echo(describe(record))
    timed = [c for c in result.candidates if c.measured]
    if timed:
        rows = [
            [
                c.record.predicted["latency_ms"],
                c.measured["latency_ms"],
                c.record.predicted["accuracy"],
                "kept" if c.measured["within_budget"] else "MISSED",
            ]
            for c in timed
        ]
        click.echo(show.table(["predicted ms", "measured ms", "predicted accuracy", "budget"], rows))
    click.echo(f"wrote {output} and {result_path(output)}")
