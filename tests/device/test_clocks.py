"""Sources of time: the real ones run on."""

from deploy_nas.device.clocks import CLOCKS, timestamp


def test_the_real_clocks_count_nanoseconds_and_wait():
    wall, cpu = CLOCKS.wall(), CLOCKS.cpu()
    CLOCKS.sleep(0.01)
    assert 1e7 <= CLOCKS.wall() - wall < 1e10
    sum(range(10**5))
    assert CLOCKS.cpu() > cpu


def test_a_moment_in_files_is_in_utc():
    assert timestamp(0.0) == "1970-01-01T00:00:00+00:00"
    assert timestamp() > "2026-01-01T00:00:00+00:00"
