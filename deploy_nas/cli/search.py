"""``deploy-nas search``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy_nas.cli import numbers, show
from deploy_nas.core.figures import ANALYTICAL, LATENCY

if TYPE_CHECKING:
    from deploy_nas.records.architecture import ArchitectureRecord


def question_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that search and pareto share; see :func:`request_of`."""
    options: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
        click.option(
            "--profile",
            "profiles",
            multiple=True,
            type=click.Path(path_type=Path),
            help="Profile of the device; may be repeated, for several devices.",
        ),
        show.supernet_option("whose accuracy predictor is used"),
        *(click.option(figure.option, type=float, help=figure.help) for figure in ANALYTICAL),
        click.option(
            "--bytes-per-element",
            type=click.Choice(["1", "4"]),
            default="1",
            help="Bytes per activation, for peak memory: 1 for int8, 4 for fp32  [1]",
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
            help="Re-base the predictor on accuracies you measured, in percent; may be repeated.",
        ),
        click.option(
            "--margin",
            metavar="slowest-seen|PERCENT",
            help="Keep budgets when the device is slower: as slow as its profile has seen it, or by so much  "
            "[what its speed changed by between checks]",
        ),
        show.unstable_option("Use a profile, or measurements, of an unstable machine."),
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
    space: str | None,
    predictor: str | None,
    **options: Any,
) -> tuple[Any, Any]:
    """The first device's profile, and the options as a request."""
    from deploy_nas.workflows.question import SearchRequest, load_devices, predictor_source

    level = _confidence(confidence)
    if not profiles:
        raise click.UsageError("Missing option '--profile'.")
    profile, budget_ms, others = load_devices(profiles, max_latency_ms)
    asked = {LATENCY.name: budget_ms, **{f.name: options.pop(f.parameter) for f in ANALYTICAL}}
    budgets = {name: bound for name, bound in asked.items() if bound is not None}
    request = SearchRequest(
        budgets=budgets,
        others=others,
        confidence=level,
        bytes_per_element=int(bytes_per_element),
        predictor=predictor_source(profile, predictor, space),
        **options,
    )
    return profile, request


def _confidence(given: str) -> float | None:
    if given.lower() == "none":
        return None
    try:
        return float(given)
    except ValueError:
        raise click.BadParameter(
            f"{given!r} is neither a number nor none", param_hint="--confidence"
        ) from None


def describe(record: ArchitectureRecord) -> str:
    """The predictions for an architecture in a few lines, with the predictor's known bias."""
    said = record.predicted
    if said.latency_ms is None:
        return "without predictions: those in the file cannot be checked"
    sign = "%" if said.accuracy_unit == "percent" else ""
    unsure = "" if said.accuracy_spread is None else f" (ensemble spread {said.accuracy_spread:.2g})"
    lines = [f"predicted accuracy {said.accuracy:.4g}{sign}{unsure}"]
    if said.accuracy_note:
        lines.append(f"  ({said.accuracy_note})")
    lines.append(_latency(said.latency_ms, said.bound_ms, ""))
    lines += [_latency(other.latency_ms, other.bound_ms, f" on {other.device}") for other in said.others]
    if said.measured_ms is not None:
        lines.append(f"measured latency {said.measured_ms:.4g} ms")
    shown = [f.worded(said.figures[f.name]) for f in ANALYTICAL if f.name in said.figures]
    lines.append(", ".join(shown))
    return "\n".join(lines)


def _latency(latency_ms: float | None, bound_ms: float | None, where: str) -> str:
    at_most = (
        "no bound (unvalidated profile, or confidence none)"
        if bound_ms is None
        else f"at most {bound_ms:.4g} ms by its bound"
    )
    return f"predicted latency {latency_ms:.4g} ms{where}, {at_most}"


def _named_budgets(given: tuple[tuple[str, float], ...]) -> dict[str, float]:
    if any(not name for name, _ in given):
        raise click.BadParameter("with --fleet, name the device or group: NAME=MS", param_hint=LATENCY.option)
    if len(dict(given)) < len(given):
        raise click.BadParameter("gives two budgets to one name", param_hint=LATENCY.option)
    return dict(given)


def fleet_request_of(
    *,
    profiles: tuple[Path, ...],
    confidence: str,
    bytes_per_element: str,
    space: str | None,
    **options: Any,
) -> Any:
    """The options as a request for a fleet, whose devices and latency budgets are in its file."""
    from deploy_nas.workflows.question import SearchRequest

    if profiles:
        raise click.UsageError("--profile and --fleet exclude each other")
    asked = {f.name: options.pop(f.parameter) for f in ANALYTICAL}
    return SearchRequest(
        budgets={name: bound for name, bound in asked.items() if bound is not None},
        confidence=_confidence(confidence),
        bytes_per_element=int(bytes_per_element),
        **options,
    )


@click.command("search")
@question_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("best.json"),
    show_default=True,
    help="Architecture file.",
)
@click.option(
    LATENCY.option,
    type=numbers.NamedBudget(),
    multiple=True,
    help=f"{LATENCY.help} One per --profile, in order; with --fleet, NAME=MS for a device or group.",
)
@click.option(
    "--fleet",
    type=click.Path(path_type=Path),
    metavar="FLEET",
    help="Instead of --profile: all devices of a fleet.toml that have a budget.",
)
@click.option(
    "--one-each",
    is_flag=True,
    help="With --fleet: write each device's or group's own network too, to OUTPUT.NAME.json.",
)
@click.option(
    "--confidence",
    default="0.95",
    show_default=True,
    metavar="P|none",
    help="Confidence that the latency budget is kept.",
)
@click.option("--image-sizes", metavar="PX,PX", help="Image sizes to search  [all that were profiled]")
@click.option(
    "--population", type=numbers.POPULATION, default=1000, show_default=True, help="Children per generation."
)
@click.option("--generations", type=numbers.GENERATIONS, default=50, show_default=True, help="Generations.")
@click.option(
    "--measure-top",
    type=numbers.CANDIDATES,
    metavar="N",
    help="Export and time the N best here; choose the most accurate that meets the budget.",
)
@click.option(
    "--weights",
    metavar="PATH[:NAME]|pretrained|random",
    help="Weights for --measure-top, as in export  [random: timing does not depend on them]",
)
@show.seed_option("The same seed gives the same subnet.")
@click.option("--force", is_flag=True, help="Replace the output.")
@show.json_option()
def command(
    output: Path,
    image_sizes: str | None,
    population: int,
    generations: int,
    max_latency_ms: tuple[tuple[str, float], ...],
    fleet: Path | None,
    one_each: bool,
    measure_top: int | None,
    weights: str | None,
    seed: int,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the most accurate subnet within budgets and write it as an architecture file.

    For a fleet it is one network for all; what that costs is said, compared with each device's own.

    The best candidates are written beside it, to NAME.search.json. Ctrl-C keeps the best found so far.

    Exits 1 if none of the candidates that --measure-top times meets the budget.
    """
    from deploy_nas.workflows.search import result_path, search_file

    options = {
        **options,
        "image_sizes": show.whole_numbers(image_sizes, "--image-sizes"),
        "hyper": {"population_size": population, "max_time_budget": generations},
        "seed": seed,
    }
    if fleet is not None:
        if measure_top or weights:
            raise click.UsageError("--measure-top times on this machine, which is not a fleet")
        from deploy_nas.cli.search_fleet import search_fleet

        given = _named_budgets(max_latency_ms)
        search_fleet(fleet, given, output, options, one_each=one_each, force=force, as_json=as_json)
        return
    if one_each or any(name for name, _ in max_latency_ms):
        raise click.UsageError("--one-each and NAME=MS are for --fleet")
    profile, request = request_of(**options, max_latency_ms=tuple(ms for _, ms in max_latency_ms))
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
        show.say("stopped; this is the best found so far")
    show.say(f"{record.space.id} at {record.image_size} px, of {result.evaluations} evaluated")
    show.say(describe(record))
    for fault in dict.fromkeys(fault for _, timed in result.timed for fault in timed.faults):
        show.say(f"UNSTABLE: when candidates were timed: {fault}", err=True)
    if result.timed:
        rows = [
            [
                r.predicted.latency_ms,
                timed.latency_ms,
                r.predicted.accuracy,
                "kept" if timed.within_budget else "MISSED",
            ]
            for r, timed in result.timed
        ]
        show.say(show.table(["predicted ms", "measured ms", "predicted accuracy", "budget"], rows))
    show.say(f"wrote {output} and {result_path(output)}")
