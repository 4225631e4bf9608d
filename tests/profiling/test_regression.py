"""The regression: what it estimates, which spread it takes, and each network left out in closed form."""

import numpy as np
import pytest

from deploy_nas.profiling.regression import Problem, Spread, regress


def problem(rng, networks=12):
    linear = rng.normal(5.0, 1.0, (networks, 2))
    times = linear @ [2.0, 0.5] + rng.normal(0, 0.01, networks)
    return Problem(
        linear=linear,
        mean=np.array([1.0, 1.0]),
        departures=np.zeros((networks, 3)),
        times_ms=times,
        noise_ms=np.ones(networks),
    )


SPREAD = Spread(coefficients=np.ones(2), row_sd=0.1, noise_sd=0.01)


def test_what_the_networks_say_replaces_the_prior(rng):
    found = regress(problem(rng), [SPREAD])
    assert found.coefficients == pytest.approx([2.0, 0.5], abs=0.02)
    assert found.departures.tolist() == [0.0, 0.0, 0.0]


def test_the_spread_with_the_most_evidence_is_taken(rng):
    narrow = Spread(coefficients=np.full(2, 1e-3), row_sd=0.1, noise_sd=0.01)
    assert regress(problem(rng), [narrow, SPREAD]).spread is SPREAD
    with pytest.raises(ValueError, match="no spread"):
        regress(problem(rng), [])


def test_each_network_left_out_is_as_if_it_were_not_there(rng):
    whole = problem(rng)
    found = regress(whole, [SPREAD])
    for out in range(3):
        rest = np.arange(len(whole.times_ms)) != out
        part = Problem(
            linear=whole.linear[rest],
            mean=whole.mean,
            departures=whole.departures[rest],
            times_ms=whole.times_ms[rest],
            noise_ms=whole.noise_ms[rest],
        )
        predicted = whole.linear[out] @ regress(part, [SPREAD]).coefficients
        assert found.left_out_ms[out] == pytest.approx(whole.times_ms[out] - predicted, abs=1e-6)
