import dataclasses
import json

import numpy as np
import pytest

from deploy_nas.adapters import graphs
from deploy_nas.core.errors import MismatchError, OptionError, RecordError, VersionError
from deploy_nas.core.spaces import get_space
from deploy_nas.device.journal import Journal
from deploy_nas.device.runner import Runner
from deploy_nas.device.timing import Burst, latency_of
from deploy_nas.profiling.fit import count_rows, fit_table, row_features
from deploy_nas.profiling.plan import make_plan
from deploy_nas.profiling.table import local_sentinel, make_profile, moments_ms
from deploy_nas.records.profile import VERSION, load_profile, save_profile

pytestmark = pytest.mark.shared_out

SPACE = get_space("ofa-mbv3-cifar10")
FINGERPRINT = {
    **dict.fromkeys(("cpu", "machine", "os", "provider", "onnxruntime", "precision", "governor"), "fake"),
    **{"cores": 2, "threads": 1, "pinned": True, "provider_options": {}},
}


@pytest.fixture
def profile_of(settings):
    def make(plan, bursts):
        return make_profile(
            plan,
            bursts,
            fingerprint=FINGERPRINT,
            settings=dataclasses.asdict(settings),
            created="2026",
            duration_s=1.0,
        )

    return make


@pytest.fixture
def plan():
    return make_plan(SPACE, quick=True)


def test_plan_repeats_and_holds_out(plan):
    assert plan.id == make_plan(SPACE, quick=True).id != make_plan(SPACE, quick=True, seed=1).id
    with pytest.MonkeyPatch.context() as patch:  # a deploy-nas that writes another graph for it
        patch.setitem(graphs._ACTIVATIONS, "hard_swish", "Swish")
        assert make_plan(SPACE, quick=True).id != plan.id
    fit = {row.tobytes() for row in plan.fit}
    assert len(fit) == len(plan.fit)
    assert not fit & {row.tobytes() for row in plan.validation}
    assert {SPACE.image_sizes[i] for i in plan.validation[:, 0]} == set(SPACE.image_sizes)
    ids = [u.id for block in plan.blocks for u in block]
    assert len(ids) == len(set(ids)) == 6 + len(SPACE.rows) + len(fit) + len(plan.validation)


def test_plan_refuses_sizes_it_cannot_have():
    with pytest.raises(OptionError):
        make_plan(SPACE, [])
    with pytest.raises(Exception, match="image_size"):
        make_plan(SPACE, [33])


def test_predictions_hold_on_networks_never_fitted(plan, run_fake, profile_of):
    _, bursts = run_fake(plan)
    profile = profile_of(plan, bursts)
    assert profile.stable, profile.noise
    assert profile.validation["mean_error_percent"] < 1.0
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
    assert profile.validation["mean_error_percent"] < 1.5
    assert profile.sentinel_ms == pytest.approx(fake.ms["sentinel"], rel=0.03)
    assert profile.noise.drift_percent > 12


def test_a_much_slower_stretch_is_waited_out(plan, run_fake, profile_of):
    fake, quiet = run_fake(plan)
    after, bursts = run_fake(plan, fresh=True, speed=stretch(fake, 0.4))
    profile = profile_of(plan, bursts)
    assert len(bursts) == len(quiet) and profile.stable, profile.noise
    assert profile.validation["mean_error_percent"] < 1.0
    assert after.now_ns > 1.3 * fake.now_ns


def test_a_slow_start_is_timed_again(plan, run_fake, profile_of):
    """Slow from the beginning: nothing to compare with until it is over, then all of it is timed again."""
    fake, _ = run_fake(plan)
    whole_s = fake.now_ns / 1e9
    _, bursts = run_fake(plan, fresh=True, speed=lambda s: 0.4 if s < 0.5 * whole_s else 1.0)
    profile = profile_of(plan, bursts)
    assert profile.stable, profile.noise
    assert profile.validation["mean_error_percent"] < 1.0


def test_a_device_that_is_slow_most_of_the_time_is_called_unstable(plan, run_fake, profile_of, settings):
    fake, _ = run_fake(plan)
    beat = fake.now_ns / 1e9 / 40
    impatient = dataclasses.replace(settings, wait_s=0.0)
    _, bursts = run_fake(plan, impatient, fresh=True, speed=lambda s: 0.4 if int(s / beat) % 3 else 1.0)
    profile = profile_of(plan, bursts)
    assert not profile.stable


def test_local_sentinel_is_a_low_quantile_around():
    times = np.ones(100)
    times[50] = 9.0
    assert local_sentinel(times).tolist() == [1.0] * 100
    times[60:] = 2.0
    local = local_sentinel(times)
    assert local[60] == 1.0 and local[99] == 2.0


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


def test_runner_goes_on_from_the_journal(plan, tmp_path, run_fake, settings):
    fake, bursts = run_fake(plan)
    before = fake.now_ns
    with Journal(tmp_path / "journal", {"plan": plan.id, "fingerprint": {}, "settings": {}}) as journal:
        Runner(
            plan,
            settings,
            journal,
            clock=fake.clock(),
            cpu_clock=fake.clock(),
            sleep=fake.sleep,
            opener=fake.open,
        ).run()
        assert journal.bursts == bursts
    assert fake.now_ns - before < 0.02 * before  # only the sentinel ran again


def test_counts():
    counts = count_rows(np.array([[3, 5, -1], [5, 5, 3]]), [3, 5])
    assert counts.tolist() == [[1, 1], [1, 2]]


def test_moments_are_halves_of_the_run():
    def of(rounds):
        burst = lambda r: (Burst(runs=5, points_ms=(float(r),), busy=1.0), 1.0)  # noqa: E731
        return {("u", r): burst(r) for r in range(rounds)}

    # rounds 0, 1, 4, 5 are of the first two passes; 8 and 9 are beyond the plan: of the last
    assert moments_ms(of(10), "u", 8, 4) == (0.75, latency_of([2, 3, 6, 7, 8, 9]))
    assert moments_ms(of(1), "u", 1, 1) == (0.0,)
    assert moments_ms(of(4), "u", 4, 4) == (0.25, 2.25)


def test_rows_held_at_their_least_do_not_bias_networks():
    plan = make_plan(SPACE)
    layers = plan.rows
    alone_ms = np.array([2e-8 * layer.macs + 0.004 for layer in layers])
    truth_ms = alone_ms - 0.25 * row_features(layers, alone_ms)[:, 3]  # so much saved a megabyte of images
    assert truth_ms.min() < 0  # a stem "costs" less than nothing: no table may say so
    counts = count_rows(SPACE.row_ids(plan.fit), plan.row_numbers)
    sizes = plan.fit[:, 0]
    measured_ms = counts @ truth_ms + 0.05
    table = fit_table(layers, alone_ms, counts, sizes, len(SPACE.image_sizes), measured_ms)
    assert (table.row_ms >= 0.0999 * alone_ms).all()
    error = (counts @ table.row_ms + table.offset_ms[sizes]) / measured_ms - 1
    assert abs(error.mean()) < 0.002 and abs(error).max() < 0.02
