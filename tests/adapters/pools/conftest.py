"""A made-up cluster."""

import pickle

import numpy as np
import pytest

from deploy_nas.adapters.pools import remote
from deploy_nas.adapters.pools.remote import work
from deploy_nas.core.errors import OptionError


class FakeCluster:
    """Runs the last task first; its clock goes on by a second with each wait."""

    def __init__(self, job, cores=2):
        self.job, self.cores, self.up = pickle.dumps(job), cores, True
        self.now_s, self.going, self.most, self.stored, self.left = 0.0, {}, 0, 0, False
        self.given_up = set()

    def clock(self):
        return self.now_s

    def slots(self):
        return self.cores

    def alive(self):
        return self.up

    def submit(self, item):
        task = object()
        self.going[task] = item
        self.most = max(self.most, len(self.going))
        return task

    def wait(self, tasks, timeout_s):
        self.now_s += 1.0
        return list(tasks)[-1:] if self.cores and self.up else []

    def reply(self, task):
        item = self.going.pop(task)
        if item in self.given_up:
            raise OptionError("died 10 times", subject="cluster")
        return work(self.job, item, (lambda: {"found": np.arange(9)}) if self.stored else None)

    def store(self):
        self.stored += 1

    def leave(self):
        self.left = True


@pytest.fixture
def fake_cluster(monkeypatch):
    """The class; what its processes have made is forgotten."""
    monkeypatch.setattr(remote, "_made", {})
    return FakeCluster
