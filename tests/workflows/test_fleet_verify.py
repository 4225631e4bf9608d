"""What devices run, measured again: with stand-ins for devices."""

from dataclasses import replace

import pytest

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import CheckFailedError, RecordError, TargetError, UnreachableError
from deploy_nas.core.measured import Measured
from deploy_nas.deploy.verify import compare, promise_of
from deploy_nas.fleet.schedule import Retry
from deploy_nas.records.fleet import load_fleet
from deploy_nas.records.fleet_history import load_history
from deploy_nas.records.profile import save_profile
from deploy_nas.workflows import fleet_verify as workflow
from deploy_nas.workflows.fleet import How
from deploy_nas.workflows.fleet_verify import verify_fleet
from deploy_nas.workflows.verify import Verified

from .test_fleet_profile import Clock

SPACE = "ofa-mbv3-cifar10"


class Devices:
    """Stand-ins: by device, the latencies of one measurement after another, or what is raised."""

    def __init__(self, made_profile):
        self.made_profile, self.gives, self.profiles = made_profile, {}, []

    def verify(self, models, profile, request, given=None, progress=None):
        host = request.target.address.removeprefix("ssh://").removesuffix(".lan")
        gives = self.gives[host]
        gives = gives.pop(0) if isinstance(gives, list) else gives
        if isinstance(gives, Exception):
            raise gives
        self.profiles.append((host, None if profile is None else profile.id))
        ms, busy = gives if isinstance(gives, tuple) else (gives, 1.0)
        on = self.made_profile().fingerprint
        times = {"latency_ms": ms, "p50_ms": ms, "p90_ms": ms, "p99_ms": ms, "runs": 100}
        conditions = Conditions(cores=(0,), busy=busy, spread_percent=1.0)
        measured = Measured(**times, conditions=conditions, sentinel_ms=1250.0)
        return [
            Verified(
                name=m.subject, verification=compare(m, promise_of(m, profile), measured, on, where="there")
            )
            for m in models
        ]


@pytest.fixture
def devices(monkeypatch, made_profile):
    found = Devices(made_profile)
    monkeypatch.setattr(workflow, "verify_models", found.verify)
    return found


@pytest.fixture
def fleet(tmp_path, model_data):
    promised = {"latency_ms": 1.0, "bound_ms": 1.2, "budget_ms": 2.0, "threads": 1}
    (tmp_path / "m.onnx").write_bytes(model_data(predicted=promised))

    def make(*names, more=""):
        text = 'bundles = ["m.onnx"]\n' + more
        text += "".join(
            f'[[device]]\nname = "{n}"\ntarget = "ssh://{n}.lan"\nspaces = ["{SPACE}"]\n' for n in names
        )
        (tmp_path / "fleet.toml").write_text(text)
        return load_fleet(tmp_path / "fleet.toml")

    return make


def how():
    return How(crew=Clock, clock=lambda: 1e9, retry=Retry(tries=2, wait_s=60.0))


def test_promises_are_kept_or_broken_and_devices_that_are_away_are_told_apart(fleet, devices):
    made = fleet("fine", "late", "gone", "bare", "wrong")
    devices.gives = {
        "fine": 1.9,
        "late": 2.1,
        "gone": UnreachableError("no route"),
        "bare": TargetError("onnxruntime is missing"),
        "wrong": CheckFailedError("its logits differ"),
    }
    done = verify_fleet(made, how())
    assert [(one.device, one.state, one.tries) for one in done.found] == [
        ("fine", "kept", 1),
        ("late", "broken", 1),
        ("gone", "unreachable", 2),
        ("bare", "failed", 1),
        ("wrong", "broken", 1),
    ]
    assert [one.device for one in done.broken] == ["late", "wrong"]
    assert [one.device for one in done.faults] == ["gone", "bare"]
    events = {e.device: e for e in load_history(made.history)}
    assert events["late"].measured_ms == 2.1 and events["late"].limit_ms == 2.0 and events["late"].sha256
    assert (events["gone"].state, events["wrong"].state) == ("unreachable", "broken")
    page = done.page.read_text()
    assert all(f">{name} <" in page for name in events) and "2.1 ms of 2 ms promised" in page


def test_the_history_grows_and_is_drawn(fleet, devices):
    made = fleet("fine")
    devices.gives = {"fine": [1.0, 1.5]}
    verify_fleet(made, how())
    verify_fleet(made, how())
    assert [e.measured_ms for e in load_history(made.history)] == [1.0, 1.5]
    assert "+50.0% since the first time (2 measured)" in made.page.read_text()


def test_an_unstable_device_over_its_promise_is_measured_again(fleet, devices, judging):
    made = fleet("a", "b")
    devices.gives = {"a": [(3.0, 0.5), 1.0], "b": (3.0, 0.5)}
    done = verify_fleet(made, how())
    assert [(one.state, one.tries) for one in done.found] == [("kept", 2), ("broken", 2)]
    events = [e for e in load_history(made.history) if e.device == "b"]
    assert len(events) == 1 and events[0].state == "broken" and events[0].fault


def test_the_devices_profile_tells_its_speed(fleet, devices, made_profile):
    made = fleet("a", "b")
    made.folder.mkdir()
    profile = made_profile()
    save_profile(profile, made.folder / f"a.{SPACE}.profile.json")
    devices.gives = {"a": 1.0, "b": 1.0}
    verify_fleet(made, how())
    assert sorted(devices.profiles) == [("a", profile.id), ("b", None)]
    a, b = sorted(load_history(made.history), key=lambda e: e.device)
    assert (a.profile, a.speed) == (profile.id, 0.8) and b.speed is None


def test_the_promise_is_the_files_budget_then_the_fleets_then_the_bound(fleet, devices, tmp_path, model_data):
    devices.gives = {"a": 1.1}
    made = fleet("a")
    assert verify_fleet(made, how()).found[0].models[0].limit_ms == 2.0
    (tmp_path / "m.onnx").write_bytes(
        model_data(predicted={"latency_ms": 1.0, "bound_ms": 1.2, "threads": 1})
    )
    assert verify_fleet(made, how()).found[0].models[0].limit_ms == 1.2
    own = replace(made, devices=(replace(made.devices[0], max_latency_ms=1.5),))
    assert verify_fleet(own, how()).found[0].models[0].limit_ms == 1.5
    (tmp_path / "m.onnx").write_bytes(model_data())
    assert verify_fleet(made, how()).found[0].state == "unpromised"


def test_what_cannot_be_verified_is_named(fleet, devices, tmp_path):
    made = fleet("a")
    devices.gives = {"a": 1.0}
    (tmp_path / "m.onnx").unlink()
    one = verify_fleet(made, how()).found[0]
    assert one.state == "failed" and "m.onnx" in str(one.error)
    empty = replace(made, devices=(replace(made.devices[0], bundles=()),))
    with pytest.raises(RecordError, match=r"nothing to verify; name 'bundles', or .* into .*bundles/a"):
        verify_fleet(empty, how())
    twice = replace(made.devices[0], bundles=(tmp_path / "m.onnx", tmp_path / "other/m.onnx"))
    with pytest.raises(RecordError, match="two bundles of one file name"):
        verify_fleet(replace(made, devices=(twice,)), how())
