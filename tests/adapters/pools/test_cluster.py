"""The pool of a cluster by its client: the cluster is made up, the client a thread of this process."""

import contextlib
import multiprocessing
import threading

import pytest

from deploy_nas.adapters.pools import ClusterPool, check_cluster
from deploy_nas.adapters.pools import cluster as pools
from deploy_nas.adapters.pools.cluster import serve
from deploy_nas.core import extras
from deploy_nas.core.errors import MissingPackageError, OptionError
from deploy_nas.core.notices import telling
from deploy_nas.testing.pools import Doubler, PoolContract


class ThreadClient:
    """A client in a thread, which joins a made-up cluster."""

    def __init__(self, join):
        self.pipe, theirs = multiprocessing.Pipe()
        self.thread = threading.Thread(target=self.work, args=(theirs, join))
        self.thread.start()

    def work(self, theirs, join):
        serve(theirs, join)
        theirs.close()

    def send(self, message):
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def end(self, patience_s=0.0):
        self.pipe.close()
        self.thread.join()


def pool(join):
    return ClusterPool("auto", client=lambda printed: ThreadClient(join))


class TestClusterPool(PoolContract):
    @pytest.fixture(autouse=True)
    def cluster(self, fake_cluster):
        self.cluster = fake_cluster

    def make(self):
        return pool(lambda asked, job: self.cluster(job))


def test_a_cluster_that_cannot_be_joined_says_so_on_opening():
    def refuse(asked, job):
        raise OptionError("cannot be joined", subject="cluster")

    with pytest.raises(OptionError, match="cluster: cannot be joined"), pool(refuse).open(Doubler()):
        pass


def test_a_client_that_dies_is_a_lost_cluster():
    def die(asked, job):
        raise EOFError

    class Dead(ThreadClient):
        def work(self, theirs, join):
            theirs.close()

    with (
        pytest.raises(OptionError, match=r"the cluster is lost.*what was measured is kept"),
        ClusterPool("auto", client=lambda printed: Dead(die)).open(Doubler()),
    ):
        pass


def test_a_cluster_lost_on_the_way_keeps_what_came_before(fake_cluster, monkeypatch):
    clusters = []

    class Short(fake_cluster):
        def wait(self, tasks, timeout_s):
            self.now_s += 1.0
            self.up = self.now_s < 5
            return list(tasks)[:1] if self.up else []

    def join(asked, job):
        clusters.append(Short(job))
        return clusters[-1]

    for patience in ("_LOOK_EVERY_S", "_LOST_AFTER_S"):
        monkeypatch.setattr(f"deploy_nas.adapters.pools.spread.{patience}", 0.0)
    with pool(join).open(Doubler()) as run:
        results = iter(run(range(40)))
        assert next(results) == 0
        with pytest.raises(OptionError, match="the cluster is lost"):
            list(results)
    assert clusters[0].left


def test_what_the_client_has_to_say_is_a_notice(fake_cluster, monkeypatch):
    monkeypatch.setattr("deploy_nas.adapters.pools.spread._WAITED_S", 0.0)
    said = []

    class Empty(fake_cluster):
        def wait(self, tasks, timeout_s):
            self.cores = 1
            return super().wait(tasks, timeout_s)

    with telling(said.append), pool(lambda asked, job: Empty(job, cores=0)).open(Doubler()) as run:
        assert list(run([1])) == [2]
    assert said == ["cluster: none of its nodes has a core to work on: waiting for one that joins"]


def test_bad_addresses_are_named_before_any_work(monkeypatch):
    check_cluster("auto")
    monkeypatch.setattr(pools, "answers", lambda address: address == "head:6379")
    check_cluster("head:6379")
    for bad in ("head", "ray://head:10001", "head:x", "head:6379/x"):
        with pytest.raises(OptionError, match="cluster: is 'auto' or HOST:PORT, not"):
            check_cluster(bad)
    with pytest.raises(OptionError, match="nothing answers at other:6379; start it: ray start --head"):
        check_cluster("other:6379")
    with pytest.raises(OptionError, match="is for Linux and macOS"):
        check_cluster("auto", "nt")
    monkeypatch.setattr(extras, "installed", lambda name: False)
    with pytest.raises(MissingPackageError, match=r"ray: needed for `cluster`.*deploy-nas\[cluster\]"):
        check_cluster("auto")
