"""The page is of the history: every device that was verified, in the order of the fleet's file."""

from deploy_nas.records.fleet import load_fleet
from deploy_nas.records.fleet_history import Event
from deploy_nas.workflows.fleet_page import write_page


def test_devices_in_order_with_those_that_left_the_fleet_last(tmp_path):
    text = "".join(f'[[device]]\nname = "{n}"\ntarget = "here"\nspaces = ["s"]\n' for n in "ab")
    (tmp_path / "fleet.toml").write_text(text)
    fleet = load_fleet(tmp_path / "fleet.toml")
    fleet.folder.mkdir()
    said = {"at": "2026-01-01T00:00:00+00:00", "kind": "verify", "subject": "m", "state": "kept"}
    events = [Event(device=n, measured_ms=1.0, **said) for n in ("left", "b", "a")]
    events.append(Event(device="a", **{**said, "state": "unreachable"}, fault="no route"))
    events.append(Event(device="b", **{**said, "kind": "profile", "state": "done"}))
    write_page(fleet, events, "now")
    page = fleet.page.read_text()
    assert page.index(">a <") < page.index(">b <") < page.index(">left <")
    assert "no route" in page and page.count("<polyline") == 3
