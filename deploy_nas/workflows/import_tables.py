"""Convert latency tables that others measured to a profile."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from deploy_nas.adapters.tables import read_ofa_tables
from deploy_nas.core.errors import MismatchError
from deploy_nas.core.reader import name_text
from deploy_nas.core.space import Space
from deploy_nas.core.spaces import get_space, known_spaces
from deploy_nas.profiling.imported import Times, could_hold, imported_profile, missing_keys
from deploy_nas.records.files import check_output
from deploy_nas.records.profile import Profile, check_readable, save_profile


def import_ofa(
    folder: Path,
    output: Path,
    *,
    space: str | None = None,
    device: str | None = None,
    force: bool = False,
) -> Profile:
    """Write OFA's YAML tables of one device (``SIZE_lookup_table.yaml``) as a profile.

    Args:
        folder: of the tables, one per image size.
        output: the profile file.
        space: whose layers they hold; found by their keys unless given.
        device: a name for the device; the folder's name unless given.
        force: replace the output.

    Raises:
        RecordError: no table, or one that cannot be read; names file and key.
        MismatchError: a layer of the space is missing, or the tables fit no space.
    """
    check_output(output, force=force)
    files = read_ofa_tables(folder)
    tables: dict[int, Times] = {
        size: {key: (t.mean_ms, t.std_ms, t.count) for key, t in file.timings.items()}
        for size, file in files.items()
    }
    profile = imported_profile(
        get_space(space) if space else _space_of(tables, folder),
        tables,
        device=device or name_text(folder.resolve().name),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        files={file.path.name: file.sha256 for file in files.values()},
    )
    save_profile(check_readable(profile), output, force=force)
    return profile


def _space_of(tables: dict[int, Times], folder: Path) -> Space:
    """The first space whose layers are all in the tables."""
    lacking = {space.id: missing_keys(space, tables) for space in known_spaces()}
    for name, missing in lacking.items():
        if not missing:
            return get_space(name)
    # A space with other image sizes, or with a layer that no table has, lists one missing thing: everything.
    nearest = min(lacking, key=lambda name: (not could_hold(get_space(name), tables), len(lacking[name])))
    raise MismatchError(
        f"its tables lack layers of every space; of the nearest, {nearest}: {lacking[nearest][0]}",
        subject=str(folder),
        hint="name one with `space` to see what it lacks",
    )
