"""A real Ray cluster of this machine, once; and what is said of one that cannot be used."""

import socket

import numpy as np
import pytest

from deploy_nas.accuracy.evaluate import SubnetEvaluator
from deploy_nas.adapters import supernets
from deploy_nas.adapters.images import ImageSet, at_sizes
from deploy_nas.adapters.pools.ray_cluster import _given_up, _misfit, _unfit, _unjoined, answers, started_here
from deploy_nas.adapters.pools.remote import versions
from deploy_nas.core.spaces import get_space
from deploy_nas.workflows.accuracy import measure_subnets


@pytest.mark.slow
def test_a_file_by_a_cluster_is_that_of_one_process(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # a cluster that runs here is left alone
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    rng, space = np.random.default_rng(0), get_space("ofa-mbv3-cifar10")
    given = ImageSet(
        images=rng.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8),
        labels=np.arange(20) % 10,
        classes=space.labels,
        source="made up",
    )
    net = supernets.build_supernet(space, seed=0)
    evaluator = SubnetEvaluator(space, net, at_sizes(given, space.image_sizes))
    one, spread = tmp_path / "one.jsonl", tmp_path / "spread.jsonl"
    assert measure_subnets(evaluator, "0" * 64, one, count=4, workers=1) == 4
    assert measure_subnets(evaluator, "0" * 64, spread, count=4, workers=2, cluster="auto") == 4
    assert spread.read_bytes() == one.read_bytes()


def test_what_answers_is_known():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert answers(address)
    assert not answers(address) and not answers("nowhere") and not answers("127.0.0.1:99999")


def test_the_cluster_of_this_machine_is_found_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert started_here() is None
    (tmp_path / "ray").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "ray/ray_current_cluster").write_text(address)
        assert started_here() == address
    assert started_here() is None  # it ended, and left its note
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert started_here() == "head:6379"


def test_unfit_nodes_and_clusters_are_named():
    here = versions()
    assert _misfit(here, here) == ""
    assert _misfit(here, (("Python", "3.9"), *here[1:])).startswith("has Python 3.9 (here 3.")
    assert "has no usable deploy-nas" in _misfit(here, "ModuleNotFoundError: no module")
    mismatch = _unjoined("head:1", RuntimeError("Version mismatch: The cluster was\n started with: Ray: 2.9"))
    assert "head:1 is of other versions of Ray or Python" in str(mismatch) and "\n" not in str(mismatch)
    assert "ray start --address=head:1" in str(_unjoined("head:1", ConnectionError("no raylet")))
    assert str(_unfit("b (10.0.0.2)", "has Python 3.9")).startswith("cluster: its node b (10.0.0.2) has")
    assert "died 10 times (killed)" in str(_given_up(RuntimeError("killed\nmore")))
