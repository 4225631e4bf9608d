"""Profiles carried over: what is timed, the profile of a device of which the truth is known, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.core.errors import MismatchError, OptionError, RecordError, UnstableDeviceError
from deploy_nas.core.spaces import get_space
from deploy_nas.profiling.carried import carried_profile, check_priors, plan_like
from deploy_nas.profiling.plan import make_plan, plan_of
from deploy_nas.records.profile import load_profile, save_profile

pytestmark = pytest.mark.shared_out

SPACE = get_space("ofa-mbv3-cifar10")


@pytest.fixture(scope="module")
def prior(made_profile):
    return made_profile(image_sizes=(24, 32))


@pytest.fixture
def whole():
    return make_plan(SPACE, [24, 32], quick=True)


@pytest.fixture
def carried(whole, prior, run_fake, fingerprint, settings):
    plan = plan_like(whole, [prior])
    fake, bursts = run_fake(plan)
    run = {"fingerprint": fingerprint, "settings": settings, "created": "2026", "duration_s": 1.0}
    return fake, bursts, plan, carried_profile(plan, [prior], bursts, **run)


def test_few_networks_are_timed_and_the_plan_stays_the_same(whole, prior):
    plan = plan_like(whole, [prior])
    timed = [unit.id for block in plan.blocks for unit in block]
    assert len(plan.only) == 20 and {i for i in timed if not i.startswith("aa:")} == set(plan.only)
    assert plan.id == whole.id and plan_of(plan.arguments) == plan
    for odd in ("fit:9999", "row:x", "validation:0"):
        with pytest.raises(OptionError, match="not a network of the plan"):
            _ = replace(whole, only=(odd,)).blocks


def test_a_carried_over_table_predicts_the_device(carried, prior, tmp_path):
    fake, _, plan, profile = carried
    whole = replace(plan, only=())
    truth = np.array([fake.ms[f"validation:{i}"] for i in range(len(whole.validation))])
    error = np.abs(profile.latency_ms(whole.validation) / truth - 1)
    assert error.mean() < 0.02 and (error <= 0.05).mean() >= 0.95
    assert profile.stable and profile.validation.networks == 20 == profile.carried.networks
    (origin,) = profile.carried.priors
    assert (origin.profile, origin.sha256, origin.share) == (prior.id, prior.sha256, 1.0)
    assert all(row.alone_ms is None for row in profile.rows)
    save_profile(profile, tmp_path / "p.json")
    again = load_profile(tmp_path / "p.json")
    assert again == profile and again.version == 3 and again.id == profile.id


def test_a_full_profile_goes_on_from_the_times(carried, whole, run_fake):
    _, bursts, *_ = carried
    _, all_bursts = run_fake(whole)
    assert all(all_bursts[key] == burst for key, burst in bursts.items())
    assert len({unit for unit, _ in all_bursts}) == sum(map(len, whole.blocks))


def test_a_network_that_was_not_timed_is_named(carried, prior, fingerprint, settings):
    _, bursts, plan, _ = carried
    less = {key: burst for key, burst in bursts.items() if key[0] != plan.only[3]}
    run = {"fingerprint": fingerprint, "settings": settings, "created": "2026", "duration_s": 1.0}
    with pytest.raises(RecordError, match=plan.only[3]):
        carried_profile(plan, [prior], less, **run)


def test_tables_that_cannot_be_carried_over(whole, prior, made_profile, fingerprint):
    check_priors([prior], whole, replace(fingerprint, runtime_version="another"))
    with pytest.raises(MismatchError, match="of space efficientnet-lite0, not of ofa-mbv3-cifar10"):
        check_priors([made_profile("efficientnet-lite0")], whole)
    with pytest.raises(MismatchError, match="image size 32 was not profiled"):
        check_priors([made_profile(image_sizes=(24,))], whole)
    with pytest.raises(MismatchError, match="nothing to carry over"):
        check_priors([prior], whole, prior.fingerprint)
    hot = made_profile(image_sizes=(24, 32), faults=("hot",))
    with pytest.raises(UnstableDeviceError, match="hot"):
        check_priors([hot], whole)
    check_priors([hot], whole, unstable=True)
    with pytest.raises(OptionError, match="twice"):
        check_priors([prior, prior], whole)
