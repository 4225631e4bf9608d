"""``deploy-nas pareto``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy_nas.cli import numbers, show
from deploy_nas.cli.search import describe, question_options, request_of
from deploy_nas.core.figures import MACS

if TYPE_CHECKING:
    from deploy_nas.records.result import SearchRecord


@click.command("pareto")
@click.pass_context
@question_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Front file  [front.json]")
@click.option(
    "--max-latency-ms",
    type=float,
    multiple=True,
    help="Slow end of the front; one per --profile, in order.",
)
@click.option(
    "--confidence",
    default="0.95",
    show_default=True,
    metavar="P|none",
    help="Confidence of the latency bounds.",
)
@click.option("--image-sizes", metavar="PX,PX", help="Image sizes to search  [all that were profiled]")
@click.option(
    "--evaluations", type=numbers.EVALUATIONS, default=100_000, show_default=True, help="Subnets to evaluate."
)
@show.seed_option("The same seed gives the same front.")
@click.option(
    "--pick",
    metavar="MS|knee",
    help="Also write one architecture of the front: the best within MS, or the knee.",
)
@click.option(
    "--pick-output",
    type=click.Path(path_type=Path),
    default=Path("best.json"),
    show_default=True,
    help="Architecture file of --pick.",
)
@click.option(
    "--from", "given", type=click.Path(path_type=Path), help="Pick from this front instead of searching."
)
@click.option("--force", is_flag=True, help="Replace the outputs.")
@show.json_option()
def command(
    ctx: click.Context,
    output: Path | None,
    image_sizes: str | None,
    evaluations: int,
    seed: int,
    pick: str | None,
    pick_output: Path,
    given: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the whole accuracy-latency front of a space in one run.

    Ctrl-C keeps the front found so far.
    """
    from deploy_nas.core.errors import OptionError
    from deploy_nas.records.files import check_output
    from deploy_nas.workflows.pareto import front_file, load_front, pick_file, picked_budget_ms

    if given is not None and pick is None:
        raise click.UsageError("--from needs --pick: it names a front to pick from")
    output = output or Path("front.json")
    if pick is not None:
        picked_budget_ms(pick)
        check_output(pick_output, force=force)
        if pick_output.resolve() == (given or output).resolve():
            raise OptionError(
                "is the front's own file", subject=str(pick_output), hint="name another `pick_output`"
            )
    if given is not None:
        of_search = {*options, "output", "image_sizes", "evaluations", "seed"}
        unused = [option for name, option in show.given_options(ctx).items() if name in of_search]
        if unused:
            raise click.UsageError(f"{unused[0]} has no effect with --from, which only picks")
        front = load_front(given)
    else:
        profile, request = request_of(
            **options, image_sizes=show.whole_numbers(image_sizes, "--image-sizes"), seed=seed
        )
        with show.progress("searching the front", quiet=as_json) as update:
            front = front_file(
                profile,
                output,
                request,
                evaluations=evaluations,
                force=force,
                again=pick is not None and not pick_output.exists(),  # killed before it picked
                progress=lambda done, total, best: update(min(done, total), total),
            )
    picked = pick_file(front, pick, pick_output, force=force) if pick is not None else None
    if as_json:
        value: dict[str, Any] = {"path": str(given or output), "interrupted": front.interrupted}
        value["front"] = [c.record.to_json() for c in front.candidates]
        value["picked"] = None if picked is None else picked.to_json()
        show.emit_json(value)
        return
    if front.interrupted:
        show.say("stopped; this is the front found so far")
    if given is None:
        _print(front, output)
    if picked is not None:
        show.say(f"picked {pick}: {picked.space.id} at {picked.image_size} px")
        show.say(describe(picked))
        show.say(f"wrote {pick_output}")


def _print(front: SearchRecord, output: Path) -> None:
    """Print about twelve of the front's points."""
    points = [c.record for c in front.candidates]
    shown = sorted({round(i * (len(points) - 1) / 11) for i in range(12)}) if points else []
    rows = [
        [
            points[i].predicted.latency_ms,
            points[i].predicted.bound_ms,
            points[i].predicted.accuracy,
            points[i].image_size,
            points[i].predicted.figures.get(MACS.name),
        ]
        for i in shown
    ]
    show.say(show.table(["predicted ms", "at most ms", "predicted accuracy", "px", "million MACs"], rows))
    note = points[0].predicted.accuracy_note if points else None
    if note:
        show.say(f"({note})")
    show.say(f"{len(points)} points of {front.evaluations} evaluated; wrote {output}")
