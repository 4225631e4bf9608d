"""``deploy-nas profiles``: list, show, compare."""

from __future__ import annotations

import sysconfig
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy_nas.cli import numbers, show
from deploy_nas.cli.conventions import Group
from deploy_nas.core.reader import name_text
from deploy_nas.records.profile_lines import profile_lines

if TYPE_CHECKING:
    from deploy_nas.records.profile import Profile


def figures(profile: Profile) -> dict[str, object]:
    """The part of a profile that ``--json`` shows."""
    return {
        "id": profile.id,
        "space": profile.space.id,
        "image_sizes": list(profile.image_sizes),
        "device": profile.fingerprint.to_json(),
        "stable": profile.stable,
        "faults": list(profile.faults),
        "imported": profile.imported is not None,
        "validation": {} if profile.validation is None else profile.validation.to_json(),
        "noise": asdict(profile.noise),
        "duration_s": profile.duration_s,
    }


def tell_written(path: Path, profile: Profile, *, as_json: bool) -> None:
    """A profile that was just written, in a few lines or as JSON."""
    if as_json:
        show.emit_json({"path": str(path), **figures(profile)})
        return
    show.say(profile_lines(profile))
    show.say(f"wrote {path}")


@click.group("profiles", cls=Group)
def command() -> None:
    """List, show and compare profiles."""


def shipped_folder() -> Path:
    """The folder of the profiles that come with deploy-nas: of the checkout, or of the environment."""
    checkout = Path(__file__).resolve().parents[2] / "profiles"
    return checkout if checkout.is_dir() else Path(sysconfig.get_path("data"), "share/deploy-nas/profiles")


@command.command("list")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--shipped", is_flag=True, help="List the profiles that come with deploy-nas.")
@show.json_option()
def list_profiles(folder: Path, shipped: bool, as_json: bool) -> None:
    """List the profiles in FOLDER (the current one unless given)."""
    from deploy_nas.core.errors import DeployNASError
    from deploy_nas.records.profile import load_profile

    folder = shipped_folder() if shipped else folder
    rows = []
    found = []
    for path in sorted(folder.rglob("*.json")):
        try:
            p = load_profile(path)
        except DeployNASError:
            continue
        found.append({"path": str(path), **figures(p)})
        verdict = "imported" if p.imported is not None else "stable" if p.stable else "unstable"
        error = None if p.validation is None else p.validation.mean_error_percent
        rows.append([str(path), p.space.id, p.fingerprint.cpu, p.fingerprint.threads, error, verdict])
    if as_json:
        show.emit_json(found)
        return
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
@show.json_option()
def show_profile(profile: Path, architecture: Path | None, image_size: int | None, as_json: bool) -> None:
    """Print a profile, and the latency of one network layer by layer."""
    from deploy_nas.core.errors import MismatchError
    from deploy_nas.core.space import image_size_of
    from deploy_nas.records.architecture import ArchitectureRecord, load_architecture
    from deploy_nas.records.profile import load_profile
    from deploy_nas.workflows.explain import shares

    p = load_profile(profile)
    chosen = p.space.largest(image_size or p.image_sizes[-1])
    if architecture is not None:
        record = load_architecture(architecture)
        if record.space.id != p.space.id:
            raise MismatchError(
                f"is of space {record.space.id}, the profile of {p.space.id}", subject=str(architecture)
            )
        chosen = record.architecture
    rows: list[list[object]] = []
    parts, total = shares(p, ArchitectureRecord(space=p.space, architecture=chosen))
    for part in parts:
        row = p.row(part.key, image_size_of(chosen)) if part.key else None
        alone = [None] * 4 if row is None else [row.alone_ms, row.p50_ms, row.p90_ms, row.p99_ms]
        rows.append([part.place, part.key, part.latency_ms, part.share_percent, *alone])
    if as_json:
        head = ("place", "layer", "latency_ms", "percent", "alone_ms", "p50_ms", "p90_ms", "p99_ms")
        network = {
            "architecture": chosen,
            "latency_ms": total,
            "layers": [dict(zip(head, row, strict=True)) for row in rows],
        }
        show.emit_json({"path": str(profile), **figures(p), "network": network})
        return
    show.say(profile_lines(p))
    rows.append(["total", "", total, 100.0, None, None, None, None])
    show.say(show.table(["place", "layer", "ms", "%", "alone ms", "alone p50", "p90", "p99"], rows))


@command.command("compare")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@show.json_option()
def compare(first: Path, second: Path, as_json: bool) -> None:
    """Say what differs between two devices."""
    import numpy as np

    from deploy_nas.core.errors import MismatchError
    from deploy_nas.core.fingerprint import EVERYTHING
    from deploy_nas.core.stats import rank_correlation
    from deploy_nas.records.profile import load_profile

    a, b = load_profile(first), load_profile(second)
    if a.space.id != b.space.id:
        raise MismatchError(f"is of space {b.space.id}, the other of {a.space.id}", subject=str(second))
    differences = [d.against() for d in a.fingerprint.differences(b.fingerprint, sorted(EVERYTHING))]
    sizes = sorted(set(a.image_sizes) & set(b.image_sizes))
    if not sizes:
        raise MismatchError("has no image size in common with the other", subject=str(second))
    nets = a.space.sample_encoded(np.random.default_rng(0), 2000, sizes)
    ratio = b.latency_ms(nets) / a.latency_ms(nets)
    low, middle, high = np.quantile(ratio, [0.05, 0.5, 0.95])
    agreement = rank_correlation(a.latency_ms(nets), b.latency_ms(nets))
    if not as_json:
        for difference in differences:
            show.say(difference)
        show.say(
            f"2000 random networks take {middle:.3f} times as long on the second "
            f"(5% to 95%: {low:.3f} to {high:.3f}); rank correlation {agreement:.4f}"
        )
    second_rows = {(r.key, r.image_size): b.factor * r.latency_ms for r in b.rows}
    common = [
        (r.key, a.factor * r.latency_ms, second_rows[r.key, r.image_size])
        for r in a.rows
        if (r.key, r.image_size) in second_rows
    ]
    odd = sorted(common, key=lambda r: abs(np.log(r[2] / r[1] / middle)), reverse=True)[:8]
    if as_json:
        names = ("layer", "first_ms", "second_ms", "ratio")
        value: dict[str, object] = {
            "differences": differences,
            "ratio": {"p5": low, "p50": middle, "p95": high},
            "rank_correlation": agreement,
            "layers": [dict(zip(names, (k, x, y, y / x), strict=True)) for k, x, y in odd],
        }
        show.emit_json(value)
        return
    if not common:  # one of them is imported: its rows are per image size
        return
    show.say("layers that differ most from this ratio:")
    show.say(show.table(["layer", "first ms", "second ms", "ratio"], [[k, x, y, y / x] for k, x, y in odd]))


@command.command("import-ofa")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Profile file  [DEVICE.profile.json]")
@click.option("--space", metavar="ID", help="Search space of the tables  [found by their keys]")
@click.option("--device-name", metavar="NAME", help="Name for the device  [the folder's name]")
@click.option("--force", is_flag=True, help="Replace the output.")
@show.json_option()
def import_ofa(
    folder: Path,
    output: Path | None,
    space: str | None,
    device_name: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Convert OFA's latency tables (SIZE_lookup_table.yaml) in FOLDER to a profile.

    The profile predicts the same latencies as OFA's own LatencyTable. It is marked imported and unvalidated:
    a search with it has no latency bound, and verify notes that it is another device's.
    """
    from deploy_nas.workflows.import_tables import import_ofa as workflow

    name = device_name or name_text(folder.resolve().name)
    path = output or Path(f"{name}.profile.json")
    profile = workflow(folder, path, space=space, device=name, force=force)
    tell_written(path, profile, as_json=as_json)
