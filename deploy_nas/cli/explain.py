"""``deploy-nas explain``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from deploy_nas.cli import numbers, show


@click.command("explain")
@click.argument("architecture", type=click.Path(path_type=Path))
@click.option("--profile", required=True, type=click.Path(path_type=Path), help="Profile of the device.")
@show.supernet_option("whose accuracy predictor is used")
@click.option(
    "--predictor",
    metavar="PATH|pretrained|embedded",
    help="Accuracy predictor  [the embedded space: its own]",
)
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="ARCH.json=TOP1|FILE",
    help="Re-base the predictor on accuracies you measured, in percent; may be repeated.",
)
@click.option("--swaps", default=10, show_default=True, type=numbers.SWAPS, help="Swaps to list.")
@show.json_option()
def command(
    architecture: Path,
    profile: Path,
    space: str | None,
    predictor: str | None,
    anchors: tuple[str, ...],
    swaps: int,
    as_json: bool,
) -> None:
    """Show which layers of ARCHITECTURE use the latency, and which swaps save most.

    A swap is a single change. The one that loses the least predicted accuracy per millisecond saved is first.
    """
    from deploy_nas.records.architecture import load_architecture
    from deploy_nas.records.profile import load_profile
    from deploy_nas.workflows.explain import explain
    from deploy_nas.workflows.question import predictor_for, predictor_source

    record, loaded = load_architecture(architecture), load_profile(profile)
    source = predictor_source(loaded, predictor, space)
    found = explain(loaded, predictor_for(loaded, source, anchors), record)
    chosen = found.swaps[:swaps]
    if as_json:
        value = {**asdict(found), "profile": loaded.id}
        value["layers"] = [asdict(layer) for layer in found.layers]
        value["swaps"] = [
            {
                "what": s.what,
                "saved_ms": s.saved_ms,
                "lost": s.lost,
                "architecture": loaded.space.decode(s.encoded[None])[0],
            }
            for s in chosen
        ]
        show.emit_json(value)
        return
    percent = 100.0 if found.unit == "fraction" else 1.0
    widest = max(layer.latency_ms for layer in found.layers)
    rows = [
        [x.place, x.latency_ms, x.share_percent, "#" * round(24 * max(x.latency_ms, 0) / widest), x.key]
        for x in found.layers
    ]
    show.say(show.table(["place", "ms", "%", "", "layer"], rows))
    show.say(
        f"total {found.total_ms:.4g} ms predicted on {loaded.fingerprint.cpu}, "
        f"predicted top-1 {percent * found.accuracy:.2f}%"
    )
    if found.note:
        show.say(f"  ({found.note})")
    if not chosen:
        return
    show.say("\nswaps that save the most time for the least predicted accuracy:")
    rows = [
        [
            s.what,
            s.saved_ms,
            100 * s.saved_ms / found.total_ms,
            -percent * s.lost,
            percent * s.lost / s.saved_ms,
        ]
        for s in chosen
    ]
    show.say(show.table(["swap", "saves ms", "%", "top-1 points", "points lost per ms"], rows))
