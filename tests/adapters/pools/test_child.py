import pytest

from deploy_nas.adapters.pools.child import Child

pytestmark = pytest.mark.slow


def test_it_serves_what_it_is_told_and_tells_how_it_ended():
    child = Child("deploy_nas.adapters.pools.processes")
    child.send(None)
    child.send(int)  # makes of no arrays what cannot be made: int({})
    assert "TypeError" in child.pipe.recv()[0]
    assert child.code() == 0
    child.end()


def test_it_has_time_to_end_by_itself():
    child = Child("deploy_nas.adapters.pools.processes")
    child.end(patience_s=20.0)
    assert child.process.returncode in (0, 1)  # its pipe was closed before it had read anything
