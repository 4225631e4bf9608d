"""The fleet's page: of every device, what was measured against what was promised, over time."""

from __future__ import annotations

from collections.abc import Sequence

from deploy_nas.records.files import write_atomic
from deploy_nas.records.fleet import Fleet
from deploy_nas.records.fleet_history import CHECKED, Event
from deploy_nas.report.fleet import DeviceShown, Measurement, render_fleet

_MOST = 2000  # measurements of one model that are drawn; the history keeps all


def write_page(fleet: Fleet, events: Sequence[Event], now: str) -> None:
    """Write the page of a fleet's history; raises :class:`OutputError`."""
    of_device: dict[str, list[Event]] = {device.name: [] for device in fleet.devices}
    for event in events:
        if event.kind == CHECKED:
            of_device.setdefault(event.device, []).append(event)
    shown = [_shown(name, held) for name, held in of_device.items() if held]
    page = render_fleet(f"The fleet of {fleet.path.name}", f"as of {now}", shown)
    write_atomic(fleet.page, page.encode(), force=True)


def _shown(device: str, events: Sequence[Event]) -> DeviceShown:
    lines: dict[str, list[Measurement]] = {}
    for event in events:
        if event.measured_ms is not None:
            lines.setdefault(event.subject, []).append(
                Measurement(
                    at=event.at,
                    measured_ms=event.measured_ms,
                    limit_ms=event.limit_ms,
                    speed=event.speed,
                    fault=event.fault,
                )
            )
    last = events[-1]
    return DeviceShown(
        name=device,
        state=last.state,
        fault=last.fault,
        at=last.at,
        lines={name: held[-_MOST:] for name, held in lines.items()},
    )
