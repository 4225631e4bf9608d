"""``deploy-nas profiles``: list, show, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy_nas.cli import numbers, show
from deploy_nas.core.reader import name_text

if TYPE_CHECKING:
    from deploy_nas.records.profile import Profile


def summary(profile: Profile) -> str:
    """A profile in a few lines."""
    on, held_out, noise = profile.fingerprint, profile.validation, profile.noise
    sizes = ", ".join(map(str, profile.image_sizes))
    if profile.imported is not None:
        return (
            f"profile {profile.id}: {profile.space.id}, image sizes {sizes}\n"
            f"device: {on.cpu}, IMPORTED from {profile.imported.format} ({len(profile.rows)} rows)\n"
            "UNVALIDATED: no network was measured against it, so its predictions have no bound"
        )
    lines = [
        f"profile {profile.id}: {profile.space.id}, image sizes {sizes}",
        f"device: {on.cpu}, {on.cores} cores, {on.threads} thread(s){', pinned' if on.pinned else ''}, "
        f"{on.provider}, {on.runtime} {on.runtime_version}, {on.precision}",
        f"timed {profile.created} in {profile.duration_s:.0f} s: {len(profile.rows)} layers",
        f"noise: differences under {noise.resolution_percent:.1f}% are noise here; "
        f"the speed drifted by {noise.drift_percent:.1f}%",
    ]
    if on.browser is not None:
        lines.insert(2, f"browser: {on.browser}, {on.build}")
    if noise.clock_ms is not None:
        lines.append(f"clock: in steps of {noise.clock_ms:.3g} ms; shorter runs were timed several at once")
    if held_out is not None:
        lines.append(
            f"validation on {held_out.networks} other networks: "
            f"mean error {held_out.mean_error_percent:.2f}%, worst {held_out.worst_error_percent:.2f}%, "
            f"{held_out.within_5_percent:.0f}% within 5%, {held_out.within_10_percent:.0f}% within 10%, "
            f"rank correlation {held_out.rank_correlation:.4f}"
        )
    lines += [f"UNSTABLE: {fault}" for fault in profile.faults] or ["verdict: stable"]
    return "\n".join(lines)


@click.group("profiles")
def command() -> None:
    """List, show and compare profiles."""


@command.command("list")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
def list_profiles(folder: Path) -> None:
    """List the profiles in FOLDER (the current one unless given)."""
    from deploy_nas.core.errors import DeployNASError
    from deploy_nas.records.profile import load_profile

    rows = []
    for path in sorted(folder.rglob("*.json")):
        try:
            p = load_profile(path)
        except DeployNASError:
            continue
        verdict = "imported" if p.imported is not None else "stable" if p.stable else "unstable"
        error = None if p.validation is None else p.validation.mean_error_percent
        rows.append([str(path), p.space.id, p.fingerprint.cpu, p.fingerprint.threads, error, verdict])
    if not rows:
        show.say(f"no profiles in {folder}: `deploy-nas profile --space ID` makes one")
        return
    show.say(show.table(["file", "space", "cpu", "threads", "error %", "verdict"], rows))


@command.command("show")
@click.argument("profile", type=click.Path(path_type=Path))
@click.option(
    "--architecture", type=click.Path(path_type=Path), help="Subnet whose layers to list  [the largest]"
)
@click.option("--image-size", type=numbers.SIDE, help="Image size of the largest subnet.")
def show_profile(profile: Path, architecture: Path | None, image_size: int | None) -> None:
    """Print a profile, and the latency of one network layer by layer."""
    from deploy_nas.core.errors import MismatchError
    from deploy_nas.core.space import image_size_of
    from deploy_nas.records.architecture import load_architecture
    from deploy_nas.records.profile import load_profile

    p = load_profile(profile)
    show.say(summary(p))
    chosen = p.space.largest(image_size or p.image_sizes[-1])
    if architecture is not None:
        record = load_architecture(architecture)
        if record.space.id != p.space.id:
            raise MismatchError(
                f"is of space {record.space.id}, the profile of {p.space.id}", subject=str(architecture)
            )
        chosen = record.architecture
    total = float(p.latency_ms(p.space.encode([chosen]))[0])
    rows: list[list[object]] = []
    rest = total
    for name, layer in p.space.layers(chosen):
        row = p.row(layer.key, image_size_of(chosen))
        rest -= row.latency_ms
        share = 100 * row.latency_ms / total
        rows.append(
            [name, layer.key, row.latency_ms, share, row.alone_ms, row.p50_ms, row.p90_ms, row.p99_ms]
        )
    rows.append(["(run itself)", "", rest, 100 * rest / total, None, None, None, None])
    rows.append(["total", "", total, 100.0, None, None, None, None])
    show.say(show.table(["place", "layer", "ms", "%", "alone ms", "alone p50", "p90", "p99"], rows))


@command.command("compare")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def compare(first: Path, second: Path) -> None:
    """Say what differs between two devices."""
    import numpy as np

    from deploy_nas.core.errors import MismatchError
    from deploy_nas.core.fingerprint import EVERYTHING
    from deploy_nas.core.stats import rank_correlation
    from deploy_nas.records.profile import load_profile

    a, b = load_profile(first), load_profile(second)
    if a.space.id != b.space.id:
        raise MismatchError(f"is of space {b.space.id}, the other of {a.space.id}", subject=str(second))
    for difference in a.fingerprint.differences(b.fingerprint, sorted(EVERYTHING)):
        show.say(difference.against())
    sizes = sorted(set(a.image_sizes) & set(b.image_sizes))
    if not sizes:
        raise MismatchError("has no image size in common with the other", subject=str(second))
    nets = a.space.sample_encoded(np.random.default_rng(0), 2000, sizes)
    ratio = b.latency_ms(nets) / a.latency_ms(nets)
    low, middle, high = np.quantile(ratio, [0.05, 0.5, 0.95])
    show.say(
        f"2000 random networks take {middle:.3f} times as long on the second "
        f"(5% to 95%: {low:.3f} to {high:.3f}); "
        f"rank correlation {rank_correlation(a.latency_ms(nets), b.latency_ms(nets)):.4f}"
    )
    second_rows = {(r.key, r.image_size): r.latency_ms for r in b.rows}
    common = [
        (r.key, r.latency_ms, second_rows[r.key, r.image_size])
        for r in a.rows
        if (r.key, r.image_size) in second_rows
    ]
    if not common:  # one of them is imported: its rows are per image size
        return
    odd = sorted(common, key=lambda r: abs(np.log(r[2] / r[1] / middle)), reverse=True)[:8]
    show.say("layers that differ most from this ratio:")
    show.say(show.table(["layer", "first ms", "second ms", "ratio"], [[k, x, y, y / x] for k, x, y in odd]))


@command.command("import-ofa")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Profile file  [DEVICE.profile.json]")
@click.option("--space", metavar="ID", help="Search space of the tables  [found by their keys]")
@click.option("--device", metavar="NAME", help="Name for the device  [the folder's name]")
@click.option("--force", is_flag=True, help="Replace the output.")
def import_ofa(folder: Path, output: Path | None, space: str | None, device: str | None, force: bool) -> None:
    """Convert OFA's latency tables (SIZE_lookup_table.yaml) in FOLDER to a profile.

    The profile predicts the same latencies as OFA's own LatencyTable. It is marked imported and unvalidated:
    a search with it has no latency bound, and verify notes that it is another device's.
    """
    from deploy_nas.workflows.import_tables import import_ofa as workflow

    name = device or name_text(folder.resolve().name)
    path = output or Path(f"{name}.profile.json")
    profile = workflow(folder, path, space=space, device=name, force=force)
    show.say(summary(profile))
    show.say(f"wrote {path}")
