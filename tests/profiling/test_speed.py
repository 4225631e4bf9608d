"""The check of a device's speed: which networks, and what it makes of their times."""

from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import RecordError, UnstableDeviceError
from deploy_nas.core.measured import Measured
from deploy_nas.profiling import speed
from deploy_nas.profiling.speed import checked_networks, measured_speed

pytestmark = pytest.mark.shared_out


@pytest.fixture(scope="module")
def of_networks(made_profile):
    """``make(**options)``: a profile whose held-out networks are of its space."""

    def make(**options):
        profile = made_profile(**options)
        drawn = profile.space.sample_encoded(
            np.random.default_rng(0), len(profile.pairs), profile.image_sizes
        )
        pairs = [
            replace(pair, choices=tuple(map(int, row)), predicted_ms=float(ms), measured_ms=float(ms))
            for pair, row, ms in zip(profile.pairs, drawn, profile.latency_ms(drawn), strict=True)
        ]
        return replace(profile, pairs=tuple(pairs))

    return make


@pytest.fixture
def timed(monkeypatch):
    """``timed(profile, factor, busy)``: each network takes that much longer than when profiled; attempts."""

    def set_up(profile, factor, *busy):
        attempts = []

        def measured(profile, networks, how, progress):
            conditions = Conditions(busy=busy[min(len(attempts), len(busy) - 1)] if busy else None)
            attempts.append(len(networks))
            times = [pair.measured_ms for pair in checked_networks(profile)]
            return [
                Measured.of([factor * ms], runs=1, conditions=conditions)
                for ms in [*times, profile.sentinel_ms]
            ]

        monkeypatch.setattr(speed, "_timed_here", measured)
        return attempts

    return set_up


def test_networks_from_the_fastest_to_the_slowest(of_networks):
    profile = of_networks()
    chosen = [pair.measured_ms for pair in checked_networks(profile)]
    every = sorted(pair.measured_ms for pair in profile.pairs)
    assert len(chosen) == 6 and (chosen[0], chosen[-1]) == (every[0], every[-1]) and chosen == sorted(chosen)
    with pytest.raises(RecordError, match="speed cannot be checked"):
        checked_networks(replace(profile, pairs=()))
    with pytest.raises(RecordError, match="not one of ofa-mbv3-cifar10"):
        checked_networks(replace(profile, pairs=(replace(profile.pairs[0], choices=(0,)),)))


def test_the_common_factor_is_found_whatever_was_checked_before(of_networks, timed):
    profile = of_networks()
    attempts = timed(profile, 1.06)
    found = measured_speed(profile)
    assert found.factor == pytest.approx(1.06) and found.sentinel_ms == pytest.approx(1060.0)
    assert attempts == [7] and found.percent == pytest.approx(6.0)
    assert np.median(found.ratios) == pytest.approx(1.06, rel=0.03)
    again = measured_speed(replace(profile, speeds=(found,)))
    assert (again.factor, again.ratios) == (found.factor, found.ratios)


def test_disturbed_runs_are_repeated_then_refused(of_networks, timed, judging):
    profile = of_networks()
    attempts = timed(profile, 1.0, 0.5, 1.0)
    assert measured_speed(profile).factor == 1.0 and len(attempts) == 2
    attempts = timed(profile, 1.0, 0.5)
    with pytest.raises(UnstableDeviceError, match="other work took the processor"):
        measured_speed(profile)
    assert len(attempts) == 3
    assert measured_speed(profile, allow_unstable=True).factor == 1.0


def test_a_real_check_is_short(of_networks, monkeypatch):
    """The device's own sessions, once, with few runs."""
    profile = of_networks(image_sizes=(24,))
    monkeypatch.setattr(speed, "NETWORKS", 1)
    monkeypatch.setattr(speed, "_HOW", replace(speed._HOW, rounds=2, burst_ms=1.0, pause_s=0.0))
    found = measured_speed(profile)
    assert found.factor > 0 and len(found.ratios) == 1 and found.sentinel_ms > 0
