"""A profile in a few lines."""

from deploy_nas.records.profile_lines import profile_lines


def test_verdict_and_faults(made_profile):
    assert profile_lines(made_profile()).endswith("verdict: stable")
    assert "UNSTABLE: noise" in profile_lines(made_profile(faults=["noise"]))
