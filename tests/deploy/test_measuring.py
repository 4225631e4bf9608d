"""Timing a file: real quantiles, and the profile's sentinel only where it can be compared."""

import pytest

from deploy_nas.core.errors import OptionError, ProviderError
from deploy_nas.deploy import measuring
from deploy_nas.device.machine import cores


def test_measuring_for_real_gives_ordered_quantiles(model_data, made_profile):
    found = measuring.measure(model_data(), profile=made_profile(), rounds=2)
    assert 0 < found.latency_ms <= found.p50_ms <= found.p90_ms <= found.p99_ms
    assert found.sentinel_ms is not None and found.runs >= 16


def test_without_a_profile_no_sentinel_is_timed(model_data, monkeypatch):
    monkeypatch.setattr(measuring, "sentinel_timer", lambda *_: pytest.fail("a sentinel was timed"))
    assert measuring.measure(model_data(), rounds=1).sentinel_ms is None


def test_the_sentinel_of_other_threads_is_not_timed(model_data, made_profile, monkeypatch):
    monkeypatch.setattr(measuring, "sentinel_timer", lambda *_: pytest.fail("a sentinel was timed"))
    assert measuring.measure(model_data(), profile=made_profile(threads=2), rounds=1).sentinel_ms is None


def test_a_provider_that_is_not_there_is_refused_by_name(model_data):
    with pytest.raises(ProviderError, match="'CUDAExecutionProvider9'"):
        measuring.measure(model_data(), provider="CUDAExecutionProvider9", rounds=1)


def test_more_threads_than_cores_are_refused(model_data):
    with pytest.raises(OptionError, match="cores of this device"):
        measuring.measure(model_data(), threads=len(cores()) + 1, rounds=1)
