"""``deploy-nas search --fleet``."""

import json

import pytest

from deploy_nas.records.profile import save_profile

SPACE = "ofa-mbv3-cifar10"
FAST = ("--population", "40", "--generations", "1")


@pytest.fixture
def fleet(tmp_path, made_profile):
    text = f'spaces = ["{SPACE}"]\n[[group]]\nname = "g"\n'
    text += "".join(f'[[device]]\nname = "{n}"\ntarget = "ssh://{n}"\ngroup = "g"\n' for n in "ab")
    (tmp_path / "fleet.toml").write_text(text)
    (tmp_path / "fleet").mkdir()
    for name, speed in (("a", 1.0), ("b", 0.5)):
        save_profile(made_profile(speed=speed), tmp_path / f"fleet/{name}.{SPACE}.profile.json")
    return "fleet.toml"


def test_one_for_all_and_one_each(run, fleet):
    budgets = ("--max-latency-ms", "a=0.5", "--max-latency-ms", "b=1.1")
    result = run("search", "--fleet", fleet, *budgets, *FAST)
    assert "one for all: ofa-mbv3-cifar10 at" in result.stdout
    assert "less accurate than their own" in result.stdout and "wrote best.json\n" in result.stdout
    value = json.loads(
        run("search", "--fleet", fleet, *budgets, *FAST, "--one-each", "--force", "--json").stdout
    )
    assert [(one["for"], one["path"], one["lost"]) for one in value["own"]] == [
        ("a", "best.a.json", pytest.approx(0.0, abs=1.0)),
        ("b", "best.b.json", pytest.approx(0.0, abs=5.0)),
    ]
    assert value["path"] == "best.json" and value["common"]["space"] == SPACE


def test_no_network_for_all(run, fleet):
    few = ("--max-latency-ms", "g=1e-3")
    assert "latency_ms@b" in run("search", "--fleet", fleet, *few, *FAST, code=2).stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-latency-ms", "3"], "name the device or group"),
        (["--max-latency-ms", "x=3"], "'x' is neither a device nor a group"),
        (["--max-latency-ms", "a=x"], "'x' is not a number"),
        (["--max-latency-ms", "=3"], "'=3' is not NAME=MS"),
        (["--max-latency-ms", "a=3", "--max-latency-ms", "a=4"], "two budgets"),
        (["--max-latency-ms", "a=3", "--measure-top", "2"], "--measure-top times on this machine"),
        (["--max-latency-ms", "a=3", "--profile", "p.json"], "exclude each other"),
        (["--max-latency-ms", "a=-3"], "positive"),
        ([], "gives no device a latency budget; say --max-latency-ms NAME=MS"),
    ],
)
def test_what_is_wrong_is_named(run, fleet, options, said):
    assert said in run("search", "--fleet", fleet, *options, code=2).stderr


def test_names_are_for_fleets(run, fleet):
    profile = ("search", "--profile", f"fleet/a.{SPACE}.profile.json")
    assert "are for --fleet" in run(*profile, "--max-latency-ms", "a=3", code=2).stderr
    assert "are for --fleet" in run(*profile, "--max-latency-ms", "3", "--one-each", code=2).stderr
