"""The functions of a fleet, with what they pass on."""

import pytest

import deploy_nas
from deploy_nas.core.errors import RecordError
from deploy_nas.records.fleet import load_fleet
from deploy_nas.records.profile import save_profile
from deploy_nas.workflows import fleet_profile

SPACE = "ofa-mbv3-cifar10"


@pytest.fixture
def path(tmp_path, made_profile, monkeypatch):
    path = tmp_path / "fleet.toml"
    path.write_text(
        f'[[device]]\nname = "a"\ntarget = "ssh://a"\nspaces = ["{SPACE}"]\nmax_latency_ms = 1e6\n'
    )

    def profile(request, target, progress=None):
        save_profile(made_profile(), request.output, force=request.force)
        return made_profile()

    monkeypatch.setattr(fleet_profile, "profile_target", profile)
    return path


def test_a_fleet_from_profiles_to_a_network(path):
    said = []
    done = deploy_nas.profile_fleet(path, progress=lambda *told: said.append(told[2]))
    assert not done.faults and said == [f"a {SPACE}: begins", f"a {SPACE}: done"]
    assert deploy_nas.fleet_status(load_fleet(path)).devices[0].profile is not None
    found = deploy_nas.search_fleet(path, population=50, generations=2)
    assert found.common.record.space.id == SPACE and found.members[0].lost == 0.0
    with pytest.raises(RecordError, match="nothing to verify"):
        deploy_nas.verify_fleet(path)
