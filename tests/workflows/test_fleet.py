"""Profiles in the fleet's folder, and devices as targets."""

import pytest

from deploy_nas.core.errors import (
    BudgetMissedError,
    MismatchError,
    RecordError,
    TargetError,
    UnreachableError,
)
from deploy_nas.fleet.crew import Desk, ElsewhereTarget
from deploy_nas.records.fleet import load_fleet
from deploy_nas.records.profile import save_profile
from deploy_nas.workflows import fleet as workflow
from deploy_nas.workflows.fleet import held_profile, held_profiles, profile_path, state_of, target_for

TEXT = """
[[device]]
name = "pi"
target = "ssh://pi@one"
spaces = ["ofa-mbv3-cifar10", "ofa-mbv3-w1.2"]
ssh_options = ["-i some key", "-oPort=3", "-v"]

[[device]]
name = "desk"
target = "here"
spaces = ["ofa-mbv3-cifar10"]
"""


@pytest.fixture
def fleet(tmp_path):
    (tmp_path / "fleet.toml").write_text(TEXT)
    (tmp_path / "fleet").mkdir()
    return load_fleet(tmp_path / "fleet.toml")


def test_profiles_lie_in_the_folder_by_device_and_space(fleet, made_profile):
    pi = fleet.devices[0]
    assert held_profile(fleet, pi, "ofa-mbv3-cifar10") is None
    path = profile_path(fleet, pi, "ofa-mbv3-cifar10")
    assert path == fleet.folder / "pi.ofa-mbv3-cifar10.profile.json"
    save_profile(made_profile(), path)
    assert held_profile(fleet, pi, "ofa-mbv3-cifar10").id == made_profile().id


def test_a_profile_of_something_else_is_named_and_kept(fleet, made_profile):
    pi = fleet.devices[0]
    path = profile_path(fleet, pi, "ofa-mbv3-w1.2")
    save_profile(made_profile(), path)
    with pytest.raises(MismatchError, match=r"of space ofa-mbv3-cifar10, but .* says ofa-mbv3-w1.2 for pi"):
        held_profile(fleet, pi, "ofa-mbv3-w1.2")
    path = profile_path(fleet, pi, "ofa-mbv3-cifar10")
    save_profile(made_profile(threads=2), path)
    with pytest.raises(MismatchError, match=r"is of threads 2, but .* says 1"):
        held_profile(fleet, pi, "ofa-mbv3-cifar10")
    path.write_text("{")
    with pytest.raises(RecordError, match=r"not JSON"):
        held_profile(fleet, pi, "ofa-mbv3-cifar10")
    assert held_profiles(fleet, pi) == [] and path.read_text() == "{"


def test_targets_leave_the_desk_unless_they_are_here(fleet, monkeypatch):
    asked = []
    real = workflow.target_of
    monkeypatch.setattr(workflow, "target_of", lambda *given: asked.append(given) or real(*given))
    pi, desk = (target_for(device, Desk()) for device in fleet.devices)
    assert isinstance(pi, ElsewhereTarget) and pi.address == "ssh://pi@one"
    assert not isinstance(desk, ElsewhereTarget)
    options = asked[0][1]
    assert options[:4] == ("-i", "some key", "-oPort=3", "-v") and "-oServerAliveInterval=15" in options
    assert asked[1][1] == ()


def test_states_of_errors():
    assert [state_of(e("x")) for e in (UnreachableError, TargetError, BudgetMissedError)] == [
        "unreachable",
        "failed",
        "broken",
    ]
