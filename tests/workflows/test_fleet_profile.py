"""Profile a fleet: with stand-ins for devices and clock, and once over a real sshd."""

import json

import pytest

from deploy_nas.core.errors import OptionError, OutputError, RecordError, TargetError, UnreachableError
from deploy_nas.fleet.crew import Threads
from deploy_nas.fleet.schedule import Retry
from deploy_nas.records.fleet import load_fleet
from deploy_nas.records.fleet_history import History, load_history
from deploy_nas.records.profile import load_profile, save_profile
from deploy_nas.testing.targets import tiny_kit
from deploy_nas.workflows import fleet_profile as workflow
from deploy_nas.workflows.fleet import How
from deploy_nas.workflows.fleet_profile import profile_fleet
from deploy_nas.workflows.refresh import Refreshed

SPACE = "ofa-mbv3-cifar10"


def write(folder, devices, head=f'spaces = ["{SPACE}"]\n'):
    text = head
    for name, more in devices.items():
        target = "" if "target" in more else f'target = "ssh://{name}.lan"\n'
        text += f'[[device]]\nname = "{name}"\n{target}{more}\n'
    (folder / "fleet.toml").write_text(text)
    return load_fleet(folder / "fleet.toml")


class Devices:
    """Stand-ins for devices: each gives a profile, or raises what is set for it."""

    def __init__(self, made_profile):
        self.made_profile, self.faults, self.asked = made_profile, {}, []

    def profile(self, request, target, progress=None):
        host = target.address.removeprefix("ssh://").removesuffix(".lan")
        self.asked.append((host, [p.name for p in request.like]))
        if fault := self.faults.get(host):
            raise fault.pop(0) if isinstance(fault, list) else fault
        profile = self.made_profile(faults=("noisy",) if host == "noisy" else (), threads=request.threads)
        save_profile(profile, request.output, force=request.force)
        return profile


class Clock(Threads):
    """Time passes by itself: no retry is waited for."""

    def __init__(self, work):
        self.at_s = 0.0
        super().__init__(work, lambda: self.at_s)

    def wait(self, most_s):
        if (found := super().wait(None if most_s is None else 0.01)) is None:
            self.at_s += most_s
        return found


@pytest.fixture
def devices(monkeypatch, made_profile):
    found = Devices(made_profile)
    monkeypatch.setattr(workflow, "profile_target", found.profile)
    return found


def how(**more):
    return How(
        **{
            "crew": Clock,
            "clock": lambda: 1e9,
            "retry": Retry(tries=3, wait_s=60.0, patience_s=float("inf")),
            **more,
        }
    )


def test_every_device_is_profiled_and_faults_are_those_of_their_devices(tmp_path, devices):
    fleet = write(tmp_path, {"a": "", "gone": "", "bare": "", "b": ""})
    devices.faults = {"gone": UnreachableError("no route"), "bare": TargetError("onnxruntime is missing")}
    said = []
    done = profile_fleet(fleet, how(say=said.append))
    assert [(one.device, one.made, one.tries) for one in done.found] == [
        ("a", True, 1),
        ("gone", False, 3),
        ("bare", False, 1),
        ("b", True, 1),
    ]
    assert [str(one.error) for one in done.faults] == ["no route", "onnxruntime is missing"]
    assert load_profile(fleet.folder / f"b.{SPACE}.profile.json").id == done.found[3].profile.id
    events = sorted(load_history(fleet.history), key=lambda e: e.device)
    assert [(e.device, e.state, e.fault) for e in events] == [
        ("a", "done", ""),
        ("b", "done", ""),
        ("bare", "failed", "onnxruntime is missing"),
        ("gone", "unreachable", "no route"),
    ]
    assert "gone ofa-mbv3-cifar10: no route; again in 120 s" in said
    assert "2 profiled, 0 held already, 2 failed" in repr(done)


def test_the_same_call_goes_on(tmp_path, devices):
    fleet = write(tmp_path, {"a": "", "gone": ""})
    devices.faults = {"gone": UnreachableError("no route")}
    profile_fleet(fleet, how())
    devices.faults, devices.asked = {}, []
    done = profile_fleet(fleet, how())
    assert [one.made for one in done.found] == [False, True] and not done.faults
    assert [name for name, _ in devices.asked] == ["gone"]
    devices.asked = []
    profile_fleet(fleet, how(only=["a"]), force=True)
    assert [name for name, _ in devices.asked] == ["a"]


def test_what_is_held_is_refreshed_and_the_rest_profiled(tmp_path, devices, monkeypatch):
    fleet = write(tmp_path, {"a": "", "b": 'like = "a"', "new": 'like = "a"'})
    profile_fleet(fleet, how(only=["a", "b"]))
    devices.asked, checked = [], []

    def refresh(path, *, target, allow_unstable):
        checked.append(path.name)
        if path.name.startswith("a."):
            raise UnreachableError("no route")
        return Refreshed(profile=load_profile(path), before=1.0)

    monkeypatch.setattr(workflow, "refresh_profile", refresh)
    done = profile_fleet(fleet, how(), refresh_held=True)
    a, b, new = done.found
    assert str(a.error) == "no route" and a.profile is not None and a.tries == 3
    assert b.refreshed and not b.made and b.profile is not None
    assert new.made and devices.asked == [("new", [f"a.{SPACE}.profile.json"])]
    assert checked.count(f"b.{SPACE}.profile.json") == 1
    assert "1 profiled, 1 refreshed, 0 held already, 1 failed" in repr(done)
    with pytest.raises(OptionError, match="give one of them"):
        profile_fleet(fleet, how(), refresh_held=True, force=True)


def test_a_device_that_comes_back_is_profiled(tmp_path, devices):
    fleet = write(tmp_path, {"a": ""})
    devices.faults = {"a": [UnreachableError("cut"), UnreachableError("cut")]}
    assert profile_fleet(fleet, how()).found[0].tries == 3


def test_like_carries_over_from_the_device_that_is_named(tmp_path, devices):
    fleet = write(tmp_path, {"b": 'like = "a"', "a": "", "c": 'like = "lost"', "lost": ""})
    devices.faults = {"lost": TargetError("broken")}
    done = profile_fleet(fleet, how(parallel=1))
    assert devices.asked == [("a", []), ("lost", []), ("b", [f"a.{SPACE}.profile.json"])]
    assert "no stable profile to carry over from" in str(done.faults[0].error) and len(done.faults) == 2


def test_like_a_group_carries_over_from_its_first_stable_profile(tmp_path, devices):
    head = f'spaces = ["{SPACE}"]\n[[group]]\nname = "g"\nlike = "g"\n'
    named = dict.fromkeys(("noisy", "a", "b"), 'group = "g"')
    fleet = write(tmp_path, {**named, "c": 'like = "g"'}, head)
    profile_fleet(fleet, how())
    assert devices.asked[:2] == [("noisy", []), ("a", [])]
    assert sorted(devices.asked[2:]) == [(n, [f"a.{SPACE}.profile.json"]) for n in "bc"]


def test_devices_that_were_not_chosen_are_still_carried_over_from(tmp_path, devices):
    fleet = write(tmp_path, {"a": "", "b": 'like = "a"'})
    profile_fleet(fleet, how(only=["a"]))
    devices.asked = []
    profile_fleet(fleet, how(only=["b"]), force=True)
    assert devices.asked == [("b", [f"a.{SPACE}.profile.json"])]


def test_a_profile_of_something_else_in_the_folder_is_a_fault_and_is_kept(tmp_path, devices, made_profile):
    fleet = write(tmp_path, {"a": "", "b": ""})
    fleet.folder.mkdir()
    path = fleet.folder / f"a.{SPACE}.profile.json"
    save_profile(made_profile(threads=2), path)
    before = path.read_bytes()
    done = profile_fleet(fleet, how())
    assert "is of threads 2" in str(done.faults[0].error) and path.read_bytes() == before
    assert done.found[1].made and [name for name, _ in devices.asked] == ["b"]


def test_what_cannot_be_done_is_refused_before_anything_is(tmp_path, devices):
    fleet = write(tmp_path, {"a": ""})
    with pytest.raises(OptionError, match="'x' is neither"):
        profile_fleet(fleet, how(only=["x"]))
    fleet.folder.mkdir()
    with History(fleet.history), pytest.raises(OutputError, match="another run"):
        profile_fleet(fleet, how())
    twice = write(tmp_path, {"a": ""}, f'spaces = ["{SPACE}", "{SPACE}"]\n')
    assert len(profile_fleet(twice, how()).found) == 1


def test_two_names_of_one_space_are_refused(tmp_path, devices, monkeypatch):
    fleet = write(tmp_path, {"a": ""}, 'spaces = ["one", "two"]\n')
    monkeypatch.setattr(workflow, "profile_path", lambda *given: tmp_path / "same")
    with pytest.raises(RecordError, match="one space twice"):
        profile_fleet(fleet, how())


@pytest.mark.slow
def test_over_a_real_sshd(tmp_path, server, made_profile, monkeypatch):
    """A kit runs on the device that answers; one that is not who it was and one that is gone are named."""

    def profile(request, target, progress=None):
        assert json.loads(target.run_kit(tiny_kit(), "fleet"))["runs"] == 1
        target.remove_kit("fleet")
        save_profile(made_profile(), request.output)
        return made_profile()

    monkeypatch.setattr(workflow, "profile_target", profile)
    options = [" ".join(server.options[i : i + 2]) for i in range(0, len(server.options), 2)]
    other = ["-o StrictHostKeyChecking=yes", f"-o UserKnownHostsFile={tmp_path}/none", *options]
    given = f'target = "{server.url}"\nssh_options = {json.dumps(options)}'
    devices = {
        "real": given,
        "impostor": f'target = "{server.url}"\nssh_options = {json.dumps(other)}',
        "gone": given.replace(str(server.port), "1"),
    }
    done = profile_fleet(write(tmp_path, devices), How(retry=Retry(tries=2, wait_s=0.1)))
    real, impostor, gone = done.found
    assert real.made and not real.error
    assert "Host key verification failed" in str(impostor.error) and impostor.tries == 1
    assert isinstance(gone.error, UnreachableError) and gone.tries == 2
