"""The state of a fleet, read from its folder."""

from dataclasses import replace
from datetime import datetime

import pytest

from deploy_nas.records.fleet import load_fleet
from deploy_nas.records.fleet_history import Event, History
from deploy_nas.records.profile import save_profile
from deploy_nas.records.profile_history import Speed
from deploy_nas.workflows.fleet_status import fleet_status, moved_percent

SPACE = "ofa-mbv3-cifar10"
NOW_S = datetime.fromisoformat("2026-01-11T12:00:00+00:00").timestamp()


@pytest.fixture
def fleet(tmp_path):
    text = "".join(f'[[device]]\nname = "{n}"\ntarget = "here"\nspaces = ["{SPACE}"]\n' for n in "abc")
    text += '[[device]]\nname = "d"\ntarget = "here"\nbundles = ["m"]\n'
    (tmp_path / "fleet.toml").write_text(text)
    fleet = load_fleet(tmp_path / "fleet.toml")
    fleet.folder.mkdir()
    return fleet


def event(device, **more):
    said = {"at": "2026-01-05T00:00:00+00:00", "kind": "verify", "subject": "m", "state": "kept"}
    return Event(device=device, **{**said, **more})


def test_what_each_holds_how_old_how_stable_and_how_far_its_speed_moved(fleet, made_profile):
    stable, noisy = made_profile(), made_profile(faults=("noisy",))
    save_profile(stable, fleet.folder / f"a.{SPACE}.profile.json")
    save_profile(noisy, fleet.folder / f"b.{SPACE}.profile.json")
    (fleet.folder / f"c.{SPACE}.profile.json").write_text("{")
    with History(fleet.history) as history:
        history.append(
            [
                event("a", profile=stable.id, speed=0.8, measured_ms=1.0, limit_ms=2.0),
                event("a", subject="n", state="broken", at="2026-01-06T00:00:00+00:00"),
                event("b", kind="profile", subject=SPACE, state="unreachable", fault="no route"),
                event("d", state="failed", fault="no onnxruntime"),
            ]
        )
    a, b, c, d = fleet_status(fleet, clock=lambda: NOW_S).devices
    assert (a.profile.id, a.age_days, a.verdict) == (stable.id, 10.5, "stable")
    assert a.row()[5:7] == ["+25.0%", "1 kept, 1 broken"] and a.checked == "2026-01-06T00:00:00+00:00"
    assert (b.verdict, b.moved_percent, b.fault) == ("UNSTABLE", None, "no route")
    assert c.profile is None and c.verdict == "none" and "not JSON" in c.fault
    assert (d.space, d.promises, d.fault) == ("", ("failed",), "no onnxruntime")


def test_a_fleet_that_was_never_touched(fleet):
    found = fleet_status(fleet, ["a"])
    assert len(found.devices) == 1 and found.devices[0].row()[2:] == [None, None, "none", None, None]
    assert "0 of 1 profiled" in repr(found)


def test_the_newest_look_at_the_speed_counts(made_profile):
    checked = Speed(created="2026-01-04T00:00:00+00:00", factor=1.1, sentinel_ms=1.0, ratios=(1.0,))
    profile = replace(made_profile(), speeds=(checked,))
    assert moved_percent(made_profile(), []) is None
    assert round(moved_percent(profile, []), 6) == 10.0
    later = event("a", profile=profile.id, speed=0.55)
    assert round(moved_percent(profile, [later]), 6) == 100.0
    earlier = event("a", profile=profile.id, speed=0.55, at="2026-01-03T00:00:00+00:00")
    other = event("a", profile="of another", speed=0.1)
    assert round(moved_percent(profile, [earlier, other]), 6) == 10.0
