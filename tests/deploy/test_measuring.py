"""Exported models timed for real, a few bursts each; what is measured is of no use."""

from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.adapters.graphs import build_model, weight_tensors
from deploy_nas.core.errors import OptionError
from deploy_nas.core.spaces import get_space
from deploy_nas.deploy.measuring import measure, measure_together, sentinel_graph
from deploy_nas.device.measure import MeasureSettings
from deploy_nas.device.session import random_initializers
from deploy_nas.records.profile import Imported

QUICK = MeasureSettings(rounds=2, burst_ms=0.5, least_runs=3, warmup_runs=1, warmup_ms=0.0, pause_s=0.0)


@pytest.fixture(scope="module")
def model():
    space = get_space("ofa-mbv3-cifar10")
    layers = space.layers(space.smallest(24))
    return build_model(layers, random_initializers(weight_tensors(layers), np.random.default_rng(0)))


def test_quantiles_are_in_order_and_the_sentinel_is_read(model, made_profile):
    found = measure(model, profile=made_profile(), rounds=2)
    assert 0 < found.latency_ms <= found.p50_ms <= found.p90_ms <= found.p99_ms
    assert found.sentinel_ms > 0 and found.runs >= 16 and 0 < found.busy <= 1


def test_several_models_are_each_measured(model):
    found = measure_together([model, model], QUICK)
    assert len(found) == 2 and all(m.latency_ms > 0 and m.sentinel_ms is None for m in found)


def test_a_sentinel_is_compared_only_with_what_it_was_timed_as(made_profile):
    profile = made_profile()
    assert sentinel_graph(profile, 1).quiet_ms == profile.sentinel_ms
    assert sentinel_graph(profile, 2) is None and sentinel_graph(None, 1) is None
    imported = Imported(format="t", device="d", files={})
    assert sentinel_graph(replace(profile, imported=imported), 1) is None


def test_more_threads_than_cores_are_refused(model):
    with pytest.raises(OptionError, match="threads"):
        measure(model, threads=4096)
