"""``deploy-nas build``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy_nas.cli import numbers, show, train
from deploy_nas.core.reader import shell_quoted
from deploy_nas.report.facts import NOTABLE_SPEED
from deploy_nas.training.launch import is_first
from deploy_nas.training.memory import yield_cores

if TYPE_CHECKING:
    from deploy_nas.workflows.build import Built


@click.command("build")
@click.argument("images", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("build"),
    show_default=True,
    help="Folder for everything.",
)
@click.option(
    "--max-latency-ms",
    type=float,
    multiple=True,
    help="Latency budget; may be repeated, for a network each  [half of the largest subnet's latency]",
)
@click.option(
    "--profile", type=click.Path(path_type=Path), help="Profile of the device  [this machine is profiled]"
)
@show.target_options("measure the files of --profile")
@click.option(
    "--threads", type=numbers.THREADS, default=1, show_default=True, help="Intra-op threads of the profile."
)
@click.option("--quick", is_flag=True, help="Profile fewer networks: quicker, less precise.")
@click.option(
    "--test", type=click.Path(path_type=Path), help="Labelled images that are used only for the last word."
)
@click.option(
    "--finetune-epochs",
    type=numbers.EPOCHS,
    default=4.0,
    show_default=True,
    help="How often the winner alone sees each image at the end; 0: never.",
)
@click.option("--no-int8", is_flag=True, help="Do not try INT8.")
@show.accuracy_drop_option()
@show.unstable_option("Certify figures measured on an unstable machine too.")
@train.training_options
@show.seed_option("Seed of everything random.")
@click.option("--force", is_flag=True, help="Replace a supernet of another training in the folder.")
@show.json_option()
def command(
    images: Path,
    output: Path,
    max_latency_ms: tuple[float, ...],
    profile: Path | None,
    target: str | None,
    ssh_option: tuple[str, ...],
    threads: int,
    quick: bool,
    test: Path | None,
    finetune_epochs: float,
    no_int8: bool,
    max_accuracy_drop: float,
    allow_unstable: bool,
    seed: int,
    force: bool,
    as_json: bool,
    **training: Any,
) -> None:
    """Make a verified network for your images and this device: from a folder to an ONNX file.

    IMAGES is a folder or zip of class folders: CLASS/IMAGE.jpg. Profiles this machine, trains a supernet that
    begins with pretrained weights, searches it for the most accurate subnet within the budget, fine-tunes
    that, exports it (in INT8 too, where that pays), verifies it on time and on images, and writes report and
    bundle.

    Ctrl-C keeps what is done: the same command goes on. Further budgets reuse the training.

    Exits 1 if a network misses its budget.
    """
    yield_cores()
    from deploy_nas.cli.repeat import commands_to_repeat
    from deploy_nas.workflows.build import BuildRequest, build, training_for

    request = BuildRequest(
        output=output,
        training=training_for(output, train.request_of(images, output, seed=seed, force=force, **training)),
        budgets_ms=max_latency_ms,
        profile=profile,
        target=target,
        ssh_options=ssh_option,
        threads=threads,
        quick=quick,
        finetune_epochs=finetune_epochs,
        int8=not no_int8,
        max_accuracy_drop=max_accuracy_drop,
        test=test,
        allow_unstable=allow_unstable,
        seed=seed,
    )
    with show.timed_progress(quiet=as_json or not is_first()) as update:
        done = build(request, lambda line: show.say(line, err=True), update, commands_to_repeat)
    if as_json:
        show.emit_json(
            {
                "builds": [
                    {"folder": str(b.folder), "architecture": b.architecture.to_json(), **b.record.to_json()}
                    for b in done
                ]
            }
        )
    else:
        show.say(summary(done))
    if any(b.within_budget is False for b in done):
        raise SystemExit(1)


_KEPT = {True: "kept", False: "MISSED", None: "unknown"}


def summary(done: list[Built]) -> str:
    """A table of what was promised and what was measured, and lines about where everything is."""
    rows = []
    lines = []
    for one in done:
        for model in one.record.models:
            low, high = model.validation.interval_percent
            test = model.test
            rows.append(
                [
                    one.record.budget_ms,
                    model.predicted_ms,
                    model.measured_ms,
                    _KEPT[model.within_budget],
                    f"{model.validation.percent:.1f} ({low:.1f} to {high:.1f})",
                    None if test is None else test.percent,
                    str(one.folder / model.file),
                ]
            )
        speeds = [model.speed for model in one.record.models if model.speed is not None]
        if speeds and abs(speeds[0] - 1) > NOTABLE_SPEED:
            lines.append(
                f"{one.folder}: when the files were measured, the device ran at {speeds[0]:.2f} times the "
                "speed of the profile"
            )
        lines += [
            f"{one.folder}: {model.file}: UNSTABLE: {fault}"
            for model in one.record.models
            for fault in model.faults
        ]
        if one.within_budget is None:
            lines.append(
                f"{one.folder}: not measured, for the profile is of another device: give its --target, or "
                "measure there with deploy-nas verify"
            )
        if one.record.no_int8:
            lines.append(f"{one.folder}: no INT8 file, because {one.record.no_int8}")
        if (tuned := one.record.tuned) is not None:
            what = "kept" if tuned.kept else "not better, so not kept"
            lines.append(
                f"{one.folder}: fine-tuning {what}: top-1 {tuned.before.percent:.1f}% before, "
                f"{tuned.after.percent:.1f}% after"
            )
        stages = ", ".join(f"{stage} {show.duration(s)}" for stage, s in one.record.stages_s.items())
        lines.append(f"{one.folder}: {stages}")
    head = [
        "budget ms",
        "predicted ms",
        "measured ms",
        "budget",
        "top-1 % (95% interval)",
        "test top-1 %",
        "model",
    ]
    last = done[-1].folder
    lines += [
        "",
        f"report, for your browser: {shell_quoted(last / 'report.html')}",
        f"for the device: {shell_quoted(last / 'bundle')}, with infer.py",
    ]
    return "\n".join([show.table(head, rows), *lines])
