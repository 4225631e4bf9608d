"""Timing a file: real quantiles, and the profile's sentinel only where it can be compared."""

from dataclasses import replace

import pytest

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import OptionError, ProviderError, UnstableDeviceError
from deploy_nas.core.measured import Measured
from deploy_nas.deploy import measuring, quantize
from deploy_nas.deploy.measuring import sentinel_graph
from deploy_nas.device.machine import cores
from deploy_nas.device.measure import MeasureSettings
from deploy_nas.records.profile_parts import Imported

pytestmark = pytest.mark.usefixtures("full_measurements")


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


@pytest.fixture
def attempts(monkeypatch):
    """``attempts(*busy)``: attempts whose runs had these shares of the processor; returns those made."""

    def make(*busy, **how):
        made = []

        def measured(*_):
            share = busy[len(made)]
            made.append(share)
            conditions = Conditions(busy=share, **how)
            return [
                Measured(latency_ms=1.0, p50_ms=1.0, p90_ms=1.0, p99_ms=1.0, runs=9, conditions=conditions)
            ]

        monkeypatch.setattr(measuring, "_measured", measured)
        return made

    return make


@pytest.mark.usefixtures("judging")
def test_a_disturbed_measurement_is_made_again_and_the_least_disturbed_is_kept(attempts):
    made = attempts(0.5, 0.99)
    assert measuring.measure(b"").busy == 0.99 and len(made) == 2
    made = attempts(0.5, 0.7, 0.6)
    found = measuring.measure(b"")
    assert found.busy == 0.7 and len(made) == 3 and "other work" in found.faults[0]
    made = attempts(0.5, quota_cores=0.5)  # which will not pass
    assert "quota" in measuring.measure(b"").faults[0] and len(made) == 1


def test_a_comparison_of_speeds_on_an_unstable_machine_needs_a_word(attempts, judging):
    attempts(0.5, 0.5, 0.5)
    with pytest.raises(UnstableDeviceError, match=r"the speed of INT8: was measured on an unstable machine"):
        quantize.compare_speed([b""], threads=1)
    attempts(0.5, 0.5, 0.5)
    assert quantize.compare_speed([b""], threads=1, allow_unstable=True) == [1.0]
