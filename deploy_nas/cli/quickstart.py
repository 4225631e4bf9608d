"""``deploy-nas quickstart``."""

from __future__ import annotations

from pathlib import Path

import click

from deploy_nas.cli import numbers, show
from deploy_nas.core.reader import shell_quoted


@click.command("quickstart")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("quickstart"),
    show_default=True,
    help="Folder for the results.",
)
@click.option("--max-latency-ms", type=float, help="Latency budget  [chosen from the profile]")
@click.option("--threads", type=numbers.THREADS, default=1, show_default=True, help="Intra-op threads.")
@click.option("--quick", is_flag=True, help="Profile fewer networks: quicker, less precise.")
@show.seed_option("Seed of the profile's order and of the search.")
@click.option("--force", is_flag=True, help="Replace the files of an earlier run.")
@show.json_option()
def command(
    output: Path,
    max_latency_ms: float | None,
    threads: int,
    quick: bool,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Profile, search, export and verify with the embedded supernet.

    Needs no network and no data, and takes three or four minutes.

    Exits 1 if the resulting model misses its budget.
    """
    from deploy_nas.cli.profiles import figures
    from deploy_nas.cli.repeat import commands_to_repeat
    from deploy_nas.cli.verify import verification_value as as_value
    from deploy_nas.records.profile_lines import profile_lines
    from deploy_nas.workflows.quickstart import quickstart

    with show.progress("profiling this machine", quiet=as_json) as update:
        done = quickstart(
            output,
            max_latency_ms=max_latency_ms,
            threads=threads,
            quick=quick,
            seed=seed,
            force=force,
            progress=update,
            say=lambda stage: show.say(f"{stage} ...", err=True),
            commands=commands_to_repeat,
        )
    predicted, verified = done.record.predicted, done.verification
    if as_json:
        show.emit_json(
            {
                "folder": str(done.folder),
                "profile": figures(done.profile),
                **done.record.to_json(),
                "verification": as_value(verified),
                "model": done.report.to_json(),
                "stages_s": done.stages_s,
            }
        )
        raise SystemExit(1 if verified.within_budget is False else 0)
    show.say(profile_lines(done.profile))
    show.say()
    row = [
        predicted.budget_ms,
        verified.predicted_ms,
        verified.measured.latency_ms,
        predicted.accuracy,
        done.report.million_macs,
        str(done.report.path),
    ]
    head = ["budget ms", "predicted ms", "measured ms", "predicted top-1 %", "million MACs", "model"]
    show.say(show.table(head, [row]))
    show.say("budget kept" if verified.within_budget else "budget MISSED")
    for fault in verified.faults:
        show.say(f"UNSTABLE: when it was measured: {fault}")
    if verified.speed is not None and abs(verified.speed - 1) > 0.05:
        show.say(f"note: this device now runs at {verified.speed:.2f} of the speed it was profiled at")
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in done.stages_s.items())
    show.say(f"\ntimes: {stages}")
    folder = shell_quoted(done.folder)
    unstable = "" if done.profile.stable else " --allow-unstable"
    show.say(f"full report, for your browser: {folder}/report.html")
    show.say(
        "\nnext:\n"
        f"  deploy-nas search --profile {folder}/profile.json "
        f"--max-latency-ms {1.5 * (predicted.budget_ms or 0):.3g}{unstable} -o {folder}/larger.json\n"
        f"  deploy-nas export {folder}/larger.json\n"
        f"  deploy-nas verify {folder}/larger.onnx --profile {folder}/profile.json\n"
        f"  deploy-nas profiles show {folder}/profile.json --architecture {folder}/best.json"
    )
    if verified.within_budget is False:
        raise SystemExit(1)
