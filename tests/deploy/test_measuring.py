"""Timing a file: real quantiles, and the profile's sentinel only where it can be compared."""

from dataclasses import replace

import pytest

from deploy_nas.core.errors import OptionError, ProviderError
from deploy_nas.deploy import measuring
from deploy_nas.deploy.measuring import sentinel_graph
from deploy_nas.device.machine import cores
from deploy_nas.device.measure import MeasureSettings
from deploy_nas.records.profile import Imported


def test_measuring_for_real_gives_ordered_quantiles(model_data, made_profile):
    found = measuring.measure(model_data(), profile=made_profile(), rounds=2)
    assert 0 < found.latency_ms <= found.p50_ms <= found.p90_ms <= found.p99_ms
    assert found.sentinel_ms is not None and found.runs >= 16


def test_without_a_profile_no_sentinel_is_timed(model_data):
    assert measuring.measure(model_data(), rounds=1).sentinel_ms is None


def test_only_a_sentinel_that_can_be_compared_is_timed(made_profile):
    profile = made_profile()
    made = sentinel_graph(profile, 1)
    assert made is not None and made.quiet_ms == profile.sentinel_ms
    assert sentinel_graph(None, 1) is None
    assert sentinel_graph(profile, 2) is None  # its sentinel was timed with one
    table = Imported(format="tables", device="phone", files={})
    assert sentinel_graph(replace(profile, imported=table), 1) is None


def test_an_int8_sentinel_is_of_the_profiles_processor(made_profile):
    def on(*features):
        here = made_profile().fingerprint
        there = replace(here, precision="int8", machine="x86_64", cpu_features=features)
        return sentinel_graph(replace(made_profile(), fingerprint=there), 1)

    assert any(spec.type == "int8" for spec in on("avx512_vnni").tensors.values())


def test_models_by_turns_have_a_value_each(model_data):
    how = MeasureSettings(rounds=2, burst_ms=1.0, pause_s=0.0)
    found = measuring.measure_together([model_data(), model_data(None)], how)
    assert len(found) == 2 and all(0 < one.latency_ms < 1000 and one.runs >= 16 for one in found)


def test_a_provider_that_is_not_there_is_refused_by_name(model_data):
    with pytest.raises(ProviderError, match="'CUDAExecutionProvider9'"):
        measuring.measure(model_data(), provider="CUDAExecutionProvider9", rounds=1)


def test_more_threads_than_cores_are_refused(model_data):
    with pytest.raises(OptionError, match="cores of this device"):
        measuring.measure(model_data(), threads=len(cores()) + 1, rounds=1)
