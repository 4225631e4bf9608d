"""Small statistics against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from deploy_nas.core.stats import binomial_interval, rank_correlation, ranks, relative_errors, upper_ratio


def test_ranks_share_ties() -> None:
    assert ranks([30, 10, 20, 20]).tolist() == [4, 1, 2.5, 2.5]


def test_rank_correlation() -> None:
    assert rank_correlation([1, 2, 3, 4], [1, 4, 9, 16]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4], [2, 1, 3, 4]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert math.isnan(rank_correlation([1, 1], [1, 2]))
    assert math.isnan(rank_correlation([1], [1]))


def test_relative_errors() -> None:
    assert relative_errors([11, 9], [10, 10]).tolist() == pytest.approx([0.1, -0.1])


def test_upper_ratio_is_the_conformal_rank() -> None:
    ratios = [1 + i / 100 for i in range(19)]
    assert upper_ratio(ratios, 0.95) == pytest.approx(1.18)  # ceil(20 * 0.95) = 19th of 19
    assert upper_ratio(ratios, 0.5) == pytest.approx(1.09)
    assert upper_ratio([1.0, 1.2], 0.95) == pytest.approx(1.2 + 0.1)  # too few: widened


def test_drift_between_checks_widens_the_bound_by_as_much_as_was_seen() -> None:
    ratios = [1 + i / 1000 for i in range(80)]
    plain = upper_ratio(ratios, 0.95)
    steady, drifting = (upper_ratio(ratios, 0.95, [1 + d, 1 - d] * 10) for d in (0.001, 0.04))
    assert plain < steady < plain + 0.01
    assert 1.10 < drifting < 1.14
    assert upper_ratio(ratios, 0.95, [1.0]) > steady  # one check tells less than twenty
    assert upper_ratio(ratios[:3], 0.95, [1.0]) > upper_ratio(ratios[:3], 0.95)


def test_binomial_interval_is_clopper_and_pearsons() -> None:
    assert binomial_interval(95, 100) == pytest.approx((0.8872, 0.9836), abs=1e-4)
    assert binomial_interval(0, 10) == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert binomial_interval(10, 10) == pytest.approx((0.6915, 1.0), abs=1e-4)
