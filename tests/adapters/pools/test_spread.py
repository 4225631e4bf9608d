"""Items over a made-up cluster, whose tasks run when they are waited for."""

import pickle
from itertools import islice

import numpy as np
import pytest

from deploy_nas.adapters.pools.outcomes import value_of
from deploy_nas.adapters.pools.remote import Job
from deploy_nas.adapters.pools.spread import Spread
from deploy_nas.core.errors import OptionError
from deploy_nas.testing.pools import Doubler, Looker


def spread(cluster, most=None, say=print, **more):
    return Spread(cluster, most, say, clock=cluster.clock, **more)


def job(make=None, arrays=None):
    return Job(make=pickle.dumps(make or Doubler()), arrays=arrays, key="one")


def test_outcomes_come_as_they_are_done_with_their_numbers(fake_cluster):
    cluster = fake_cluster(job())
    found = dict(spread(cluster)(range(10)))
    assert {number: value_of(outcome) for number, outcome in found.items()} == {n: 2 * n for n in range(10)}
    assert cluster.most == 4  # two for each core


def test_no_more_at_once_than_was_asked_for(fake_cluster):
    cluster = fake_cluster(job(), cores=8)
    assert len(list(spread(cluster, most=3)(range(9)))) == 9 and cluster.most == 3


def test_a_node_that_joins_gets_its_share(fake_cluster):
    cluster = fake_cluster(job(), cores=1)
    outcomes = spread(cluster)(range(30))
    list(islice(outcomes, 5))
    cluster.cores = 3
    assert len(list(outcomes)) == 25 and cluster.most == 6


def test_a_node_that_lacks_the_arrays_gets_them_from_the_store(fake_cluster, tmp_path):
    from deploy_nas.adapters.pools.arrays import write_arrays

    arrays = write_arrays({"found": np.arange(9)}, tmp_path)
    (tmp_path / "token").unlink()
    cluster = fake_cluster(job(Looker(), arrays))
    assert sorted(value_of(outcome) for _, outcome in spread(cluster)(range(4))) == [0, 1, 2, 3]
    assert cluster.stored >= 1


def test_a_task_that_is_given_up_is_the_fault_of_its_item(fake_cluster):
    cluster = fake_cluster(job())
    cluster.given_up = {pickle.dumps(2)}
    found = dict(spread(cluster)(range(4)))
    assert value_of(found[3]) == 6
    with pytest.raises(OptionError, match="died 10 times"):
        value_of(found[2])


def test_a_cluster_without_cores_is_waited_for_and_that_is_said_once(fake_cluster):
    said = []
    cluster = fake_cluster(job(), cores=0)

    def say(text):
        said.append((cluster.now_s, text))

    def stop():
        if cluster.now_s > 90:
            cluster.cores = 1
        return False

    assert len(list(spread(cluster, say=say, stop=stop)(range(3)))) == 3
    assert len(said) == 1 and 30 <= said[0][0] < 40 and "waiting for one that joins" in said[0][1]


def test_a_lost_head_is_one_error_after_a_while(fake_cluster):
    cluster = fake_cluster(job())
    outcomes = spread(cluster)(range(9))
    next(outcomes)
    cluster.up, before_s = False, cluster.now_s
    with pytest.raises(OptionError, match=r"cluster: the cluster is lost.*start it again.*is kept"):
        list(outcomes)
    assert 10 <= cluster.now_s - before_s <= 20


def test_a_fault_of_a_cluster_that_is_gone_is_that_it_is_lost(fake_cluster):
    cluster = fake_cluster(job())
    cluster.given_up = {pickle.dumps(n) for n in range(4)}
    outcomes = spread(cluster)(range(4))
    cluster.reply, reply = (lambda task: (setattr(cluster, "up", False), reply(task))[1]), cluster.reply
    with pytest.raises(OptionError, match="the cluster is lost"):
        list(outcomes)


def test_the_rest_is_left_when_it_is_not_wanted(fake_cluster):
    left = [3]

    def stop():
        left[0] -= 1
        return left[0] < 0

    assert len(list(spread(fake_cluster(job()), stop=stop)(range(9)))) == 3


def test_making_gives_the_first_outcome(fake_cluster):
    assert spread(fake_cluster(job())).make() == (None, None)
