"""``deploy-nas verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy_nas.cli import numbers, show
from deploy_nas.cli.wording import with_options

if TYPE_CHECKING:
    from deploy_nas.deploy.verify import Verification
    from deploy_nas.workflows.verify import MeasuredTop1, Verified


@click.command("verify")
@click.argument("model", metavar="MODEL|BUNDLE", type=click.Path(path_type=Path))
@click.option("--profile", type=click.Path(path_type=Path), help="Compare with this profile's prediction.")
@click.option("--max-latency-ms", type=float, help="Latency budget  [the one it was searched for]")
@click.option("--threads", type=numbers.THREADS, help="Intra-op threads  [the profile's]")
@show.target_options("measure")
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Folder or zip of class folders to measure top-1 on, on this machine.",
)
@click.option(
    "--every-ms",
    type=float,
    metavar="MS",
    help="Measure at this pace too, a run every so many ms, as for the pictures of a camera.",
)
@show.json_option()
def command(
    model: Path,
    profile: Path | None,
    max_latency_ms: float | None,
    threads: int | None,
    target: str | None,
    ssh_option: tuple[str, ...],
    images: Path | None,
    every_ms: float | None,
    as_json: bool,
) -> None:
    """Measure an exported MODEL, or each model of a BUNDLE, and compare with its prediction and budget.

    The files of a bundle (a folder or zip) are checked against its manifest first. Prediction, budget and
    latency are of single runs back to back on otherwise idle cores; what disturbed them is said.
    Exits 1 if the budget is missed.
    """
    from deploy_nas.records.bundle import is_bundle
    from deploy_nas.workflows.verify import VerifyRequest, verify

    request = VerifyRequest(
        path=model,
        profile=profile,
        max_latency_ms=max_latency_ms,
        threads=threads,
        target=target,
        ssh_options=ssh_option,
        images=images,
        every_ms=every_ms,
    )
    with show.progress("measuring", quiet=as_json) as update:
        results = verify(request, update)
    if as_json:
        values = {result.name: as_value(result) for result in results}
        show.emit_json({"models": values} if is_bundle(model) else values[str(model)])
    else:
        for result in results:
            if is_bundle(model):
                show.say(f"{result.name}: its hash matches the manifest")
            if result.logits_apart is not None:
                judged = "logits match" if result.logits_judged else "INT8 logits, not judged"
                place = result.device or result.verification.measured_on
                show.say(f"on {place}: {judged}, largest difference {result.logits_apart:.2g}")
            show.say(describe(result.verification))
            if result.top1 is not None:
                show.say(describe_top1(result.top1, " here" if target is not None else ""))
    show.say_reading(*(result.top1.report for result in results if result.top1 is not None))
    if any(result.verification.within_budget is False for result in results):
        raise SystemExit(1)


def as_value(result: Verified) -> dict[str, object]:
    """The JSON value of a result, for ``--json``."""
    value = verification_value(result.verification)
    if result.logits_apart is not None:
        value["logits_apart"] = result.logits_apart
    if result.device is not None:
        value["device"] = str(result.device)
    if result.top1 is not None:
        value["top1"] = {
            "right": result.top1.top1.right,
            **result.top1.top1.to_json(),
            "predicted_percent": result.top1.predicted_percent,
            "skipped": list(result.top1.report.skipped),
        }
    return value


def verification_value(v: Verification) -> dict[str, object]:
    """A verification as a JSON value."""
    return {
        "measured": v.measured.to_json(),
        "stable": not v.faults,
        "predicted_ms": v.predicted_ms,
        "bound_ms": v.bound_ms,
        "budget_ms": v.budget_ms,
        "speed": v.speed,
        "differences": [str(difference) for difference in v.differences],
        "sha256": v.sha256,
        "certificate": None if v.certificate is None else v.certificate.to_json(),
        "warning": None if v.warning is None else with_options(v.warning),
        "within_budget": v.within_budget,
        "error_percent": v.error_percent,
    }


def describe_top1(found: MeasuredTop1, where: str = "") -> str:
    """Top-1, its interval and its prediction in a line or two; ``where`` names the place."""
    low, high = found.top1.interval_percent
    reading = found.top1.reading
    of = "" if reading is None else reading.part_of_classes
    lines = [
        f"top-1 {found.top1.percent:.2f}%{where} on {found.top1.images} images{of} "
        f"(95% interval {low:.2f} to {high:.2f})"
    ]
    if reading is not None and reading.by_position:
        order = "numeric" if reading.numeric_order else "alphabetic"
        lines.append(f"note: the model does not name its classes: labels by position, in {order} order")
    if found.predicted_percent is not None:
        side = "within" if found.agrees else "outside"
        lines.append(f"predicted top-1 {found.predicted_percent:.2f}%: {side} the interval")
    return "\n".join(lines)


def describe(result: Verification) -> str:
    """A verification in a few lines."""
    m = result.measured
    lines = [
        f"measured {m.latency_ms:.4g} ms "
        f"(p50 {m.p50_ms:.4g}, p90 {m.p90_ms:.4g}, p99 {m.p99_ms:.4g}; {m.runs} runs back to back)",
        *(f"UNSTABLE: {fault}" for fault in result.faults),
    ]
    if m.paced is not None:
        lines.append(
            f"a run every {m.paced.every_ms:g} ms: median {m.paced.p50_ms:.4g} ms, "
            f"p90 {m.paced.p90_ms:.4g} ms ({m.paced.runs} runs); prediction and budget are for back to back"
        )
    if result.predicted_ms is not None:
        bound = "" if result.bound_ms is None else f", at most {result.bound_ms:.4g} by its bound"
        lines.append(f"predicted {result.predicted_ms:.4g} ms ({result.error_percent:+.1f}%{bound})")
    if result.budget_ms is not None:
        verdict = "kept" if result.within_budget else "MISSED"
        if result.faults:
            verdict += ", as measured on an unstable machine"
        lines.append(f"budget {result.budget_ms:.4g} ms: {verdict}")
    if result.speed is not None and abs(result.speed - 1) > 0.05:
        lines.append(f"note: this device now runs at {result.speed:.2f} of the speed it was profiled at")
    if result.certificate is not None:
        then = result.certificate.measured.latency_ms
        change = 100 * (m.latency_ms / then - 1)
        lines.append(f"certificate: {then:.4g} ms on {result.certificate.measured_on}; now {change:+.1f}%")
    if result.warning is not None:
        lines.append(f"note: {with_options(result.warning)}")
    if result.differences:
        differences = "; ".join(map(str, result.differences))
        lines.append(f"note: the profile is of another device or setup: {differences}")
    return "\n".join(lines)
