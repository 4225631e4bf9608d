"""What a report says in words."""

from dataclasses import replace

import pytest

from deploy_nas.core.fingerprint import Difference
from deploy_nas.core.measured import Top1
from deploy_nas.records.profile_history import Carried, Prior, Speed
from deploy_nas.records.profile_parts import Imported
from deploy_nas.report.facts import facts_of, profile_facts, threads_of, top1_warnings, warnings_about
from deploy_nas.report.page import Point

POINT = Point(
    name="the subnet reported on",
    latency_ms=1.2,
    bound_ms=1.3,
    top1=81.234,
    image_size=24,
    figures={"millionMACs": 5.25, "params_million": 0.55, "KBPeakMemory": 61.0, "model_mb": 2.2},
    architecture={"image_size": 24},
    blocks=(),
)
TABLE = Imported(format="OFA's tables", device="phone", files={})


def test_the_tiles_of_a_subnet_that_nobody_measured():
    assert facts_of(POINT, None, "") == [
        ("predicted top-1", "81.23%", "at 24 px"),
        ("predicted latency", "1.2 ms", "at most 1.3 ms"),
        ("MACs", "5.25 M", "0.55 million parameters"),
        ("peak memory", "61 KB", "activations"),
    ]


def test_the_tiles_of_a_subnet_that_was_measured():
    tiles = facts_of(replace(POINT, measured_ms=1.0), 1.5, "kept")
    facts = {name: (value, note) for name, value, note in tiles}
    assert facts["measured latency"] == ("1 ms", "predicted +20.0%")
    assert facts["budget"] == ("1.5 ms", "kept")


def test_a_measured_top1_stands_beside_the_predicted_one():
    tiles = facts_of(POINT, None, "", Top1(right=842, images=1000))
    assert [name for name, _, _ in tiles[:3]] == ["predicted top-1", "measured top-1", "predicted latency"]
    assert tiles[1][1:] == ("84.20%", "95% interval 81.8 to 86.3%, 1,000 images")


def test_a_predicted_top1_outside_the_measured_interval_is_warned_of():
    top1 = Top1(right=842, images=1000)
    assert top1_warnings(84.0, top1) == [] and top1_warnings(10.0, None) == []
    for wrong in (81.2, 90.0):
        (said,) = top1_warnings(wrong, top1)
        assert said == (
            f"The predicted top-1, {wrong:.2f}%, lies outside the 95% interval of the measured one: "
            "81.8 to 86.3% on 1,000 images."
        )


def test_without_a_bound_or_a_measurement_that_is_said():
    facts = {name: (value, note) for name, value, note in facts_of(replace(POINT, bound_ms=None), 1.5, "")}
    assert facts["predicted latency"] == ("1.2 ms", "no bound: unvalidated")
    assert facts["budget"] == ("1.5 ms", "not measured yet") and "measured latency" not in facts


def test_a_profile_says_how_good_it_is(made_profile):
    facts = dict(profile_facts(made_profile(threads=2)))
    assert facts["ran on"] == "CPUExecutionProvider, 2 threads, pinned" and facts["verdict"] == "stable"
    assert facts["validated on"] == "40 networks never used in the fit that predicted them"
    assert facts["mean error"].startswith("1.0") and facts["within 5%"] == "100%; within 10%: 100%"
    assert facts["bound at 95%"].startswith("+")
    unvalidated = dict(profile_facts(replace(made_profile(), pairs=())))
    assert "mean error" not in unvalidated and "noise" in unvalidated
    assert dict(profile_facts(made_profile(faults=("slow", "hot"))))["verdict"] == "slow; hot"


def test_a_profile_says_what_it_was_carried_over_from_and_the_speeds_seen(made_profile):
    profile = made_profile()
    prior = Prior(profile="0" * 12, sha256="0" * 64, fingerprint=profile.fingerprint, share=1.0)
    speeds = tuple(Speed(created="now", factor=f, sentinel_ms=1.0, ratios=(f,)) for f in (1.1, 0.98))
    carried = replace(profile, carried=Carried(networks=20, priors=(prior,)), speeds=speeds)
    facts = dict(profile_facts(carried))
    assert "20 networks; its" in facts["timed"] and "carried over from 000000000000 (fake" in facts["timed"]
    assert facts["speed"] == "on now, networks took 2.0% less time (-2.0% to +10.0% over time)"
    assert "speed" not in dict(profile_facts(profile))


def test_an_imported_table_says_only_where_it_is_from(made_profile):
    facts = dict(profile_facts(replace(made_profile(), imported=TABLE, pairs=())))
    assert facts["source"] == "imported from OFA's tables, unvalidated"
    assert set(facts) == {"device", "image sizes", "source", "rows"}


@pytest.mark.parametrize(("threads", "said"), [(1, "1 thread"), (2, "2 threads")])
def test_threads_in_words(made_profile, threads, said):
    assert threads_of(made_profile(threads=threads)) == said


def test_nothing_is_warned_of_where_nothing_is_wrong(made_profile):
    assert warnings_about(made_profile(), "kept", speed=1.01) == []
    assert warnings_about(made_profile(), "") == []


def test_what_must_be_read_first(made_profile):
    differences = (
        Difference(name="threads", profiled=1, found=4),
        Difference(name="graphs", sentence="graphs: of another time"),
    )
    said = warnings_about(
        made_profile(faults=("hot",)), "MISSED", speed=0.8, differences=differences, foreign=True
    )
    assert len(said) == 5 and "found with another profile" in said[0]
    assert said[1] == "The profile is unstable: hot." and "misses the budget" in said[2]
    assert "0.80 times the speed" in said[3]
    assert said[4].endswith("threads: profiled 1, here 4; graphs: of another time.")


def test_a_disturbed_measurement_is_warned_of(made_profile):
    said = warnings_about(made_profile(), "kept", faults=("it was hot", "it was late"))
    assert said == ["The measurement was disturbed: it was hot; it was late."]


def test_an_imported_profile_is_warned_of_and_not_called_unstable(made_profile):
    (said,) = warnings_about(replace(made_profile(faults=("unvalidated",)), imported=TABLE), "")
    assert "was imported" in said and "no bound" in said
