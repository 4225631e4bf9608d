"""What is asked, checked: devices, budgets, bounds and what is promised of an answer."""

from dataclasses import replace

import pytest

from deploy_nas.core.errors import MismatchError, OptionError, UnstableDeviceError
from deploy_nas.records.profile import load_profile
from deploy_nas.records.profile_history import Speed
from deploy_nas.records.profile_parts import Imported
from deploy_nas.workflows.question import (
    LATENCY,
    OtherDevice,
    SearchRequest,
    ask,
    load_devices,
    predictor_for,
)

pytestmark = pytest.mark.shared_out

SPACE = "ofa-mbv3-cifar10"
QUICK = {"population_size": 60, "max_time_budget": 4}
FEW = ("--population", 60, "--generations", 4)


def test_the_plain_half_is_plain_on_the_first_device_alone(made_profile):
    other = OtherDevice(profile=made_profile(speed=0.5), name="slow", max_latency_ms=0.6)
    request = SearchRequest(budgets={LATENCY: 0.4}, others=(other,))
    question = ask(made_profile(), predictor_for(made_profile(), None), request)
    slow = "latency_ms@slow"
    assert question.budgets[LATENCY] < 0.4 and question.budgets[slow] < 0.6
    assert question.unbounded().budgets == {LATENCY: 0.4, slow: question.budgets[slow]}


def test_no_more_confidence_than_the_held_out_networks_support(run, profiles):
    asked = ("search", "--profile", profiles[0], "--max-latency-ms", 0.3, *FEW, "--confidence")
    assert "support at most 0.9" in run(*asked, 0.9999, code=2).stderr
    run(*asked, 0.95)


def test_a_margin_is_of_the_slowest_speed_seen_or_of_so_many_percent(made_profile):
    profile, predictor = made_profile(), predictor_for(made_profile(), None)
    speeds = tuple(Speed(created="", factor=f, sentinel_ms=1.0, ratios=(f,)) for f in (1.2, 1.0))
    checked = replace(profile, speeds=speeds)

    def budget(profile, margin):
        return ask(profile, predictor, SearchRequest(budgets={LATENCY: 1.0}, margin=margin)).budgets[LATENCY]

    plain = budget(profile, None)
    assert budget(profile, "10") == budget(profile, "10%") == pytest.approx(plain / 1.1)
    assert budget(checked, "slowest-seen") == pytest.approx(plain / 1.2, rel=0.02)
    with pytest.raises(OptionError, match="was never checked"):
        budget(profile, "slowest-seen")
    for odd in ("often", "-1", "nan", "5000"):
        with pytest.raises(OptionError, match="must be slowest-seen or 0 to 1000 percent"):
            budget(profile, odd)


def test_a_profile_of_graphs_as_they_were_once_written_is_refused(made_profile):
    profile = made_profile()
    profile = replace(profile, fingerprint=replace(profile.fingerprint, graphs="of another time"))
    request = SearchRequest(budgets={LATENCY: 0.4})
    predictor = predictor_for(profile, None)
    with pytest.raises(MismatchError, match="graphs: profiled as another deploy-nas writes them"):
        ask(profile, predictor, request)
    ask(profile, predictor, replace(request, allow_unstable=True))


def test_profiles_of_one_name_are_refused(made_profile):
    other = OtherDevice(profile=made_profile(), name="x")
    request = SearchRequest(budgets={LATENCY: 1.0}, others=(other, other))
    with pytest.raises(OptionError, match="the same name"):
        ask(made_profile(), predictor_for(made_profile(), None), request)


def test_an_answer_says_which_device_it_is_for(made_profile):
    """What is measured later must be measured alike: threads, provider, its options."""
    profile = made_profile(threads=2)
    options = {"use_arena": "0"}
    on = replace(profile.fingerprint, provider="FastProvider", provider_options=options)
    profile = replace(profile, fingerprint=on)
    question = ask(profile, predictor_for(profile, None), SearchRequest(budgets={LATENCY: 0.4}, seed=3))
    (record,) = question.records(profile.space.encode([profile.space.smallest(24)]))
    said = record.predicted
    assert (said.provider, said.provider_options, said.threads) == ("FastProvider", options, 2)
    assert (said.precision, said.profile, said.seed, said.budget_ms) == ("fp32", profile.id, 3, 0.4)
    assert said.confidence == 0.95 and said.bound_ms > said.latency_ms
    assert set(said.figures) == {"millionMACs", "params_million", "KBPeakMemory", "model_mb"}


def test_of_an_imported_table_no_provider_and_no_bound_is_promised(made_profile):
    table = Imported(format="tables", device="phone", files={})
    profile = replace(made_profile(), imported=table, pairs=())
    question = ask(profile, predictor_for(profile, None), SearchRequest(budgets={LATENCY: 0.4}))
    (record,) = question.records(profile.space.encode([profile.space.smallest(24)]))
    said = record.predicted
    assert said.provider is None and said.bound_ms is None and said.confidence is None
    value = said.to_json()
    assert value["bound_ms"] is None and value["confidence"] is None  # said, not left out


def test_what_was_asked_is_kept_whole(made_profile):
    other = OtherDevice(profile=made_profile(speed=0.5), name="slow", max_latency_ms=0.6)
    request = SearchRequest(
        budgets={LATENCY: 0.4, "millionMACs": 9.0},
        others=(other,),
        confidence=None,
        anchors=("a.json=80",),
        bytes_per_element=4,
        hyper=QUICK,
        seed=7,
    )
    profile = made_profile()
    asked = ask(profile, predictor_for(profile, None), request).asked()
    assert asked.profiles == {LATENCY: profile.id, "latency_ms@slow": other.profile.id}
    assert asked.budgets == {LATENCY: 0.4, "millionMACs": 9.0, "latency_ms@slow": 0.6}
    assert (asked.confidence, asked.anchors, asked.bytes_per_element) == (None, ("a.json=80",), 4)
    assert (asked.image_sizes, asked.hyper, asked.seed) == (profile.image_sizes, QUICK, 7)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 2.0, -0.1])
def test_a_confidence_that_is_none_is_named(made_profile, confidence):
    request = SearchRequest(budgets={LATENCY: 0.4}, confidence=confidence)
    with pytest.raises(OptionError, match="confidence: must be between 0 and 1"):
        ask(made_profile(), predictor_for(made_profile(), None), request)


def test_unstable_profiles_and_sizes_that_one_lacks_are_refused(made_profile):
    predictor = predictor_for(made_profile(), None)
    unstable = made_profile(faults=("its speed changed by 40%",))
    request = SearchRequest(budgets={LATENCY: 0.4})
    with pytest.raises(UnstableDeviceError, match=r"is unstable \(its speed changed by 40%\)"):
        ask(unstable, predictor, request)
    ask(unstable, predictor, replace(request, allow_unstable=True))
    with pytest.raises(MismatchError, match="image size 20 was not profiled"):
        ask(made_profile(image_sizes=(24, 28)), predictor, replace(request, image_sizes=(20,)))


def test_a_space_without_a_predictor_wants_one_named(made_profile):
    with pytest.raises(OptionError, match=r"predictor: ofa-mbv3-w1\.0 comes without a predictor"):
        predictor_for(made_profile("ofa-mbv3-w1.0"), None)


def test_devices_and_their_budgets_go_together(profiles, tmp_path):
    paths = [tmp_path / name for name in profiles]
    first, budget_ms, (other,) = load_devices(paths, [0.4, 0.6])
    assert (first.id, budget_ms) == (load_profile(paths[0]).id, 0.4)
    assert (other.name, other.max_latency_ms) == ("slow", 0.6)
    _, budget_ms, (other,) = load_devices(paths, [])
    assert budget_ms is None and other.max_latency_ms is None
    with pytest.raises(OptionError, match=r"max_latency_ms: 2 profile\(s\) and 1 latency budget"):
        load_devices(paths, [0.4])
