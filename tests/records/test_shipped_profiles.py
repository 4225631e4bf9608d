"""The profiles in profiles/ are data we ship: they load, are stable and say how good they are."""

import pytest

from deploy_nas.records.profile import load_profile


def test_shipped_profiles(repository):
    paths = sorted((repository / "profiles").glob("*.json"))
    if not paths:
        pytest.skip("none in this checkout")
    for path in paths:
        profile = load_profile(path)
        assert profile.stable, path
        assert profile.validation.mean_error_percent <= 2.0
        assert profile.validation.within_10_percent == 100.0
        assert 1.0 < profile.upper_ratio(0.95) < 1.15
