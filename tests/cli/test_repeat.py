"""The commands that a page shows: they repeat what was asked, and are safe to paste."""

from dataclasses import replace
from pathlib import Path

import pytest

from deploy_nas.cli.repeat import commands_to_repeat
from deploy_nas.core.predicted import Elsewhere, Predicted
from deploy_nas.core.spaces import get_space
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.profile_parts import Imported
from deploy_nas.records.result import Asked

PATHS = {name: Path(name) for name in ("profile", "best", "model", "report")}
ASKED = Asked(
    profiles={"latency_ms": "a", "latency_ms@my phone": "b"},
    budgets={"latency_ms": 0.35, "latency_ms@my phone": 6.0, "millionMACs": 9.0, "model_mb": 3.0},
    confidence=None,
    predictor="my acc.onnx",
    anchors=("a b.json=80",),
    image_sizes=(24,),
    bytes_per_element=4,
    hyper={"population_size": 60, "max_time_budget": 50},
    seed=3,
    measure_top=4,
)


def record(profile, /, **predicted):
    said = Predicted(**{"profile": profile.id, "budget_ms": 0.35, "latency_ms": 0.3, "seed": 3, **predicted})
    return ArchitectureRecord(space=profile.space, architecture=profile.space.smallest(), predicted=said)


@pytest.fixture
def lines(made_profile):
    """``lines(asked, profile, paths, **predicted)``: the commands."""

    def make(asked=None, profile=None, paths=PATHS, **predicted):
        profile = profile or made_profile()
        return list(commands_to_repeat(paths)(record(profile, **predicted), profile, asked or Asked()))

    return make


def test_the_whole_way_in_order(lines, made_profile):
    sizes = ",".join(map(str, made_profile().image_sizes))
    assert lines() == [
        f"deploy-nas profile --space ofa-mbv3-cifar10 --threads 1 --image-sizes {sizes} -o profile",
        "deploy-nas search --profile profile -o best --max-latency-ms 0.35 --seed 3",
        "deploy-nas export best -o model",
        "deploy-nas verify model --profile profile",
        "deploy-nas report best --profile profile --model model -o report",
    ]


def test_a_trained_supernet_and_images_are_named_where_they_are_used(lines):
    said = lines(paths={**PATHS, "space": Path("my net"), "images": Path("test.zip")})
    assert said[2] == "deploy-nas export best -o model --space 'my net'"
    assert said[4].endswith("--model model --images test.zip --space 'my net' -o report")


def test_paths_are_quoted(lines):
    said = lines(paths={**PATHS, "profile": Path("my p.json"), "report": Path("a;b.html")})
    assert all("'my p.json'" in said[n] for n in (0, 1, 3, 4)) and said[4].endswith("-o 'a;b.html'")


def test_what_was_asked_is_asked_again_and_quoted(lines):
    said = lines(ASKED)[1]
    for part in (
        "--profile 'my phone'.profile.json --max-latency-ms 6",
        "--max-macs-millions 9",
        "--max-model-mb 3",
        "--confidence none",
        "--predictor 'my acc.onnx' --anchor 'a b.json=80'",
        "--image-sizes 24",
        "--bytes-per-element 4",
        "--population 60 --measure-top 4",
        "--seed 3",
    ):
        assert part in said
    assert "--generations" not in said


def test_nothing_is_said_that_is_the_default(lines, made_profile):
    asked = Asked(
        profiles={"latency_ms": "a"},
        budgets={"latency_ms": 0.35},
        confidence=0.95,
        image_sizes=made_profile().image_sizes,
        hyper={"population_size": 1000, "max_time_budget": 50},
    )
    assert lines(asked)[1] == "deploy-nas search --profile profile -o best --max-latency-ms 0.35 --seed 3"
    assert "--confidence 0.9 " in lines(replace(asked, confidence=0.9))[1]


def test_a_pick_is_picked_again_and_quoted(lines):
    asked = Asked(budgets={"latency_ms": 0.5}, confidence=0.95, evaluations=4000)
    assert lines(asked, picked="knee", budget_ms=None)[1] == (
        "deploy-nas pareto --profile profile --max-latency-ms 0.5 --evaluations 4000 "
        "--pick knee --pick-output best --seed 3"
    )
    assert "--pick 'knee; rm -rf ~'" in lines(picked="knee; rm -rf ~")[1]


def test_on_another_profile_first_it_was_another_question(made_profile):
    other = Elsewhere(device="slow", profile=made_profile().id)
    profile = made_profile()
    one = record(profile, profile="the first", others=(other,))
    said = commands_to_repeat(PATHS)(one, profile, Asked())
    assert [line.split()[1] for line in said] == ["profile", "export", "verify", "report"]


def test_a_profile_is_made_as_it_was(made_profile):
    profile = made_profile(threads=2)
    options = {"speed": "the most"}
    on = replace(profile.fingerprint, precision="int8", provider="FastProvider", provider_options=options)
    changed = replace(profile, fingerprint=on)
    said = commands_to_repeat(PATHS)(record(changed), changed, Asked())[0]
    assert "--threads 2 " in said
    assert "--precision int8 --provider FastProvider --provider-option 'speed=the most' -o profile" in said


def test_an_imported_profile_is_not_made_again_and_an_unstable_one_allowed(made_profile):
    table = Imported(format="tables", device="phone", files={})
    imported = replace(made_profile(), imported=table, pairs=())
    assert commands_to_repeat(PATHS)(record(imported), imported, Asked())[0].startswith("deploy-nas search")
    unstable = made_profile(faults=("hot",))
    assert "--allow-unstable" in commands_to_repeat(PATHS)(record(unstable), unstable, Asked())[1]


def test_a_space_without_weights_of_its_own_wants_some_named(made_profile):
    profile = made_profile(get_space("ofa-mbv3-w1.0").id)
    said = commands_to_repeat(PATHS)(record(profile), profile, Asked())
    assert said[2] == "deploy-nas export best -o model --weights WEIGHTS"
