"""From a journal to a profile, on a device of which the truth is known."""

import dataclasses
import json

import numpy as np
import pytest

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import MismatchError, RecordError, VersionError
from deploy_nas.core.measured import latency_of
from deploy_nas.core.spaces import get_space
from deploy_nas.device.timing import Burst
from deploy_nas.profiling.plan import make_plan
from deploy_nas.profiling.table import Timed, local_sentinel, make_profile, moments_ms
from deploy_nas.records.profile import VERSION, load_profile, save_profile

pytestmark = pytest.mark.shared_out

SPACE = get_space("ofa-mbv3-cifar10")


@pytest.fixture
def profile_of(settings, fingerprint):
    def make(plan, bursts):
        return make_profile(
            plan,
            bursts,
            fingerprint=fingerprint,
            settings=settings,
            created="2026",
            duration_s=1.0,
        )

    return make


def test_predictions_hold_on_networks_never_fitted(plan, run_fake, profile_of):
    _, bursts = run_fake(plan)
    profile = profile_of(plan, bursts)
    assert profile.stable, profile.noise
    assert profile.validation.mean_error_percent < 1.0
    fresh = SPACE.sample_encoded(np.random.default_rng(9), 200)
    from_layers = [
        sum(1.07 * _alone(layer) + 0.08e-6 * layer.params + 0.001 for _, layer in SPACE.layers(a)) + 0.02
        for a in SPACE.decode(fresh)
    ]
    error = profile.latency_ms(fresh) / np.array(from_layers) - 1
    assert np.abs(error).mean() < 0.015 and np.abs(error).max() < 0.05


def _alone(layer):
    import zlib

    return 2e-8 * layer.macs * (1 + 0.06 * np.sin(zlib.crc32(layer.key.encode()))) + 0.004


def stretch(fake, speed):
    """That speed from 0.4 to 0.8 of the time a whole run takes."""
    whole_s = fake.now_ns / 1e9
    return lambda s: speed if 0.4 * whole_s < s < 0.8 * whole_s else 1.0


def test_a_slower_stretch_is_scaled_out_and_told(plan, run_fake, profile_of):
    fake, _ = run_fake(plan)
    _, bursts = run_fake(plan, fresh=True, speed=stretch(fake, 0.85))
    profile = profile_of(plan, bursts)
    assert profile.validation.mean_error_percent < 1.5
    assert profile.sentinel_ms == pytest.approx(fake.ms["sentinel"], rel=0.03)
    assert profile.noise.drift_percent > 12


def test_a_much_slower_stretch_is_waited_out(plan, run_fake, profile_of):
    fake, quiet = run_fake(plan)
    after, bursts = run_fake(plan, fresh=True, speed=stretch(fake, 0.4))
    profile = profile_of(plan, bursts)
    assert len(bursts) == len(quiet) and profile.stable, profile.noise
    assert profile.validation.mean_error_percent < 1.0
    assert after.now_ns > 1.3 * fake.now_ns


def test_a_slow_start_is_timed_again(plan, run_fake, profile_of):
    """Slow from the beginning: nothing to compare with until it is over, then all of it is timed again."""
    fake, _ = run_fake(plan)
    whole_s = fake.now_ns / 1e9
    _, bursts = run_fake(plan, fresh=True, speed=lambda s: 0.4 if s < 0.5 * whole_s else 1.0)
    profile = profile_of(plan, bursts)
    assert profile.stable, profile.noise
    assert profile.validation.mean_error_percent < 1.0


def test_a_device_that_is_slow_most_of_the_time_is_called_unstable(plan, run_fake, profile_of, settings):
    fake, _ = run_fake(plan)
    beat = fake.now_ns / 1e9 / 40
    impatient = dataclasses.replace(settings, wait_s=0.0)
    _, bursts = run_fake(plan, impatient, fresh=True, speed=lambda s: 0.4 if int(s / beat) % 3 else 1.0)
    profile = profile_of(plan, bursts)
    assert not profile.stable


def test_cores_and_quota_of_the_run_are_in_the_profile_and_judged(plan, run_fake, settings, fingerprint):
    _, bursts = run_fake(plan)
    run = {"fingerprint": fingerprint, "settings": settings, "created": "2026", "duration_s": 1.0}
    half = make_profile(plan, bursts, conditions=Conditions(cores=(1,), quota_cores=0.5), **run)
    assert (half.noise.cores, half.noise.quota_cores) == ((1,), 0.5)
    assert "a CPU quota of 0.5 cores stops 1 thread" in half.faults[0] and not half.stable


def test_local_sentinel_is_a_low_quantile_around():
    times = np.ones(100)
    times[50] = 9.0
    slow = np.zeros(100, dtype=bool)
    assert local_sentinel(times, slow).tolist() == [1.0] * 100
    times[60:] = 2.0
    local = local_sentinel(times, slow)
    assert local[60] == 1.0 and local[99] == 2.0


def test_slow_moments_have_their_own_sentinel_and_say_nothing_of_others():
    times = np.ones(100)
    slow = np.arange(100) % 4 > 0
    times[slow] = 2.0
    assert local_sentinel(times, slow).tolist() == times.tolist()
    assert local_sentinel(times, np.ones(100, dtype=bool)) is times


def test_profile_file_round_trip_and_faults(plan, run_fake, tmp_path, profile_of):
    _, bursts = run_fake(plan)
    profile = profile_of(plan, bursts)
    path = tmp_path / "p.json"
    save_profile(profile, path)
    again = load_profile(path)
    assert again == profile and again.id == profile.id
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(RecordError, match="cut short"):
        load_profile(path)
    good = json.loads(text)

    def broken(change):
        value = json.loads(text)
        change(value)
        path.write_text(json.dumps(value))
        return path

    with pytest.raises(RecordError, match="edited"):
        load_profile(broken(lambda v: v["rows"][0].update(latency_ms=1.0)))
    with pytest.raises(RecordError, match="missing from 'rows'"):
        load_profile(broken(lambda v: v["rows"].pop()))
    with pytest.raises(RecordError, match="twice"):
        load_profile(broken(lambda v: v["rows"].append(v["rows"][0])))
    for bad in (0, -1, True, "1", None):
        with pytest.raises(RecordError, match=r"rows\[0\].*latency_ms"):
            load_profile(broken(lambda v, bad=bad: v["rows"][0].update(latency_ms=bad)))
    with pytest.raises(VersionError, match="upgrade"):
        load_profile(broken(lambda v: v.update(version=VERSION + 1)))
    with pytest.raises(RecordError, match="edited"):
        load_profile(broken(lambda v: v.update(version=VERSION)))
    path.write_text(text.replace(str(good["rows"][0]["alone_ms"]), "NaN", 1))
    with pytest.raises(RecordError, match="NaN"):
        load_profile(path)


def test_unprofiled_image_size_is_named(run_fake, profile_of):
    plan = make_plan(SPACE, [24, 32], quick=True)
    _, bursts = run_fake(plan)
    profile = profile_of(plan, bursts)
    with pytest.raises(MismatchError, match="28 was not profiled"):
        profile.latency_ms(SPACE.encode([SPACE.smallest(28)]))
    assert profile.latency_ms(SPACE.encode([SPACE.smallest(24)]))[0] > 0


def test_missing_unit_is_named(plan, run_fake, profile_of):
    _, bursts = run_fake(plan)
    kept = {k: v for k, v in bursts.items() if k[0] != "fit:3"}
    with pytest.raises(RecordError, match="fit:3"):
        profile_of(plan, kept)


def test_moments_are_halves_of_the_run():
    def of(rounds):
        burst = lambda r: (Burst(runs=5, points_ms=(float(r),), busy=1.0), 1.0)  # noqa: E731
        return {("u", r): burst(r) for r in range(rounds)}

    # rounds 0, 1, 4, 5 are of the first two passes; 8 and 9 are beyond the plan: of the last
    assert moments_ms(of(10), "u", 8, 4) == (0.75, latency_of([2, 3, 6, 7, 8, 9]))
    assert moments_ms(of(1), "u", 1, 1) == (0.0,)
    assert moments_ms(of(4), "u", 4, 4) == (0.25, 2.25)


def test_half_of_a_half_is_no_moment():
    bursts = lambda *numbers: {  # noqa: E731
        ("u", i): (Burst(runs=1, points_ms=(float(i),), busy=1.0), 1.0) for i in numbers
    }
    first, second = (0, 1, 4, 5), (2, 3, 6, 7)
    assert moments_ms(bursts(*first, 2, 3), "u", 8, 4) == (latency_of(first),)
    assert moments_ms(bursts(0, 4, 2, 6), "u", 8, 4) == (latency_of([0, 4, 2, 6]),)
    assert len(moments_ms(bursts(*first, *second[1:]), "u", 8, 4)) == 2


def test_doubt_grows_as_less_was_undisturbed():
    timed = {
        ms: Timed(points_ms=np.ones(1), round_ms=np.ones(1), runs=1, quiet_ms=ms) for ms in (0, 1, 25, 200)
    }
    assert [timed[ms].doubt(200.0) for ms in (200, 25, 1, 0)] == [1.0, 2.0, 6.0, 20.0]


def slowed(bursts, which):
    """The bursts of a run in which the core was shared while the units were timed that ``which`` says."""

    def on_half_a_core(unit, burst):
        if not which(unit):
            return dataclasses.replace(burst, core_us=40.0)
        return dataclasses.replace(burst, core_us=80.0, points_ms=tuple(1.9 * p for p in burst.points_ms))

    return {key: (on_half_a_core(key[0], burst), beside) for key, (burst, beside) in bursts.items()}


@pytest.mark.usefixtures("slow_cores_count")
def test_networks_that_were_timed_in_slow_moments_only_do_not_move_the_table(plan, run_fake, profile_of):
    _, bursts = run_fake(plan)
    half = slowed(bursts, lambda unit: unit.startswith("fit:") and int(unit[4:]) % 2 == 0)
    assert profile_of(plan, half).validation.mean_error_percent < 3.0


@pytest.mark.usefixtures("slow_cores_count")
def test_slow_moments_are_told_where_much_was_timed_in_nothing_else(plan, run_fake, profile_of):
    _, bursts = run_fake(plan)
    profile = profile_of(plan, slowed(bursts, lambda unit: unit.startswith("row:")))
    assert "of the layers or networks were timed in slow moments only" in profile.faults[0]
    assert not profile.stable
