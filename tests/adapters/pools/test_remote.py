import pickle

import numpy as np
import pytest

from deploy_nas.adapters.pools import remote
from deploy_nas.adapters.pools.arrays import write_arrays
from deploy_nas.adapters.pools.remote import Job, differing, unpickled, versions, work
from deploy_nas.core.errors import ImagesError
from deploy_nas.testing.pools import Doubler, Looker, Unmade

FOUND = {"found": np.arange(4) * 10}


def job(make, arrays=None, key="one"):
    return pickle.dumps(Job(make=pickle.dumps(make), arrays=arrays, key=key))


def done(asked, item, fetch=None):
    reply = unpickled(work(asked, None if item is None else pickle.dumps(item), fetch))
    assert reply.kind == "done"
    return reply.outcome


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(remote, "_made", {})


def test_the_function_is_made_once_for_a_job():
    asked = job(Doubler())
    assert done(asked, None) == (None, None) and done(asked, 4) == (None, 8)
    made = remote._made["one"]
    assert done(asked, 5) == (None, 10) and remote._made["one"] is made
    assert done(job(Doubler(), key="two"), 1) == (None, 2) and list(remote._made) == ["two"]


def test_faults_come_back_as_they_are():
    fault, _ = done(job(Doubler(fault=3)), 3)
    assert isinstance(fault, ImagesError) and fault.hint == "leave it out"
    assert isinstance(done(job(Unmade(), key="two"), 3)[0], ImagesError)


def test_arrays_come_from_the_folder_else_from_the_store(tmp_path):
    written = write_arrays(FOUND, tmp_path, digests=True)
    asked = job(Looker(), written)
    assert done(asked, 2) == (None, 20)
    (tmp_path / "token").unlink()
    remote._made.clear()
    assert unpickled(work(asked, pickle.dumps(2), None)).kind == "lacks"
    assert done(asked, 2, lambda: {"found": np.arange(4)}) == (None, 2)


def test_versions_that_differ_are_named():
    here = versions()
    assert differing(here, here) == "" and dict(here)["deploy-nas"]
    there = tuple((name, "0" if name == "deploy-nas" else version) for name, version in here[:-1])
    said = differing(here, there)
    assert said.startswith("deploy-nas 0 (here ") and f"{here[-1][0]} missing" in said
