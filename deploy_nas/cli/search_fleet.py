"""``deploy-nas search --fleet``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy_nas.cli import show
from deploy_nas.cli.wording import with_options

if TYPE_CHECKING:
    from deploy_nas.workflows.fleet_search import FleetFound


def search_fleet(
    path: Path,
    max_latency_ms: Mapping[str, float],
    output: Path,
    options: dict[str, Any],
    *,
    one_each: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Search for a fleet and say what was found."""
    from deploy_nas.cli.search import fleet_request_of
    from deploy_nas.records.fleet import load_fleet
    from deploy_nas.workflows.fleet_search import search_fleet as workflow

    request = fleet_request_of(**options)
    with show.progress("searching", quiet=as_json) as update:
        found = workflow(
            load_fleet(path),
            request,
            output,
            max_latency_ms=max_latency_ms,
            space=options["space"],
            one_each=one_each,
            force=force,
            progress=update,
        )
    if as_json:
        show.emit_json(_search_value(found))
    else:
        _say_search(found)


def _fault(found: FleetFound) -> str | None:
    return None if found.fault is None else with_options(str(found.fault))


def _search_value(found: FleetFound) -> dict[str, object]:
    from deploy_nas.workflows.fleet_search import accuracy_of

    return {
        "path": None if found.path is None else str(found.path),
        "common": None if found.common is None else found.common.record.to_json(),
        "fault": _fault(found),
        "unit": found.unit,
        "own": [
            {
                "for": one.name,
                "devices": list(one.devices),
                "path": None if one.path is None else str(one.path),
                "budget_ms": one.budget_ms,
                "latency_ms": one.latency_ms,
                "accuracy": accuracy_of(one.found),
                "lost": one.lost,
            }
            for one in found.members
        ],
    }


def _say_search(found: FleetFound) -> None:
    from deploy_nas.cli.search import describe
    from deploy_nas.workflows.fleet_search import HEAD

    if found.common is None:
        show.say(f"no network keeps every budget: {_fault(found)}")
    else:
        record, result = found.common.record, found.common.result
        show.say(
            f"one for all: {record.space.id} at {record.image_size} px, of {result.evaluations} evaluated"
        )
        show.say(describe(record))
    show.say(show.table(list(HEAD), found.rows()))
    if found.most_lost is not None:
        unit = " points" if found.unit == "percent" else ""
        show.say(f"one network for all is at most {found.most_lost:.3g}{unit} less accurate than their own")
    written = [found.path, *(one.path for one in found.members)]
    show.say(f"wrote {', '.join(str(path) for path in written if path is not None)}")
