"""One network for a fleet, and what it costs each device."""

import json

import pytest

from deploy_nas.core.errors import BudgetError, InfeasibleBudgetError, OptionError, OutputError, RecordError
from deploy_nas.records.fleet import load_fleet
from deploy_nas.records.profile import save_profile
from deploy_nas.workflows.fleet_search import search_fleet
from deploy_nas.workflows.question import SearchRequest

SPACE = "ofa-mbv3-cifar10"
FAST = {"population_size": 60, "max_time_budget": 2}
REQUEST = SearchRequest(budgets={}, hyper=FAST, confidence=None)
TEXT = """
spaces = ["ofa-mbv3-cifar10"]
[[group]]
name = "slow"
max_latency_ms = {budget}
[[device]]
name = "fast"
target = "ssh://fast"
max_latency_ms = {budget}
[[device]]
name = "slow-1"
target = "ssh://s1"
group = "slow"
[[device]]
name = "slow-2"
target = "ssh://s2"
group = "slow"
[[device]]
name = "unasked"
target = "ssh://u"
"""


@pytest.fixture
def fleet(tmp_path, made_profile):
    profile = made_profile()
    smallest, largest = profile.latency_ms(
        profile.space.encode([profile.space.smallest(20), profile.space.largest(28)])
    )
    budget = 3.0 * float(smallest)
    assert budget < largest
    (tmp_path / "fleet.toml").write_text(TEXT.format(budget=budget))
    fleet = load_fleet(tmp_path / "fleet.toml")
    fleet.folder.mkdir()
    for name, speed in {"fast": 1.0, "slow-1": 0.5, "slow-2": 0.45}.items():
        save_profile(made_profile(speed=speed), fleet.folder / f"{name}.{SPACE}.profile.json")
    return fleet


def test_one_for_all_and_what_it_costs(fleet, tmp_path):
    found = search_fleet(fleet, REQUEST, tmp_path / "best.json")
    fast, slow = found.members
    assert (fast.name, fast.devices) == ("fast", ("fast",))
    assert (slow.name, slow.devices) == ("slow", ("slow-1", "slow-2"))
    assert fast.lost > 0.0 and slow.lost >= 0.0 and found.most_lost >= fast.lost
    assert fast.accuracy > slow.accuracy and slow.latency_ms <= slow.budget_ms
    said = json.loads((tmp_path / "best.json").read_text())["predicted"]
    assert [o["device"] for o in said["others"]] == ["slow-1", "slow-2"]
    assert sorted(p.name for p in tmp_path.glob("best*")) == ["best.json", "best.search.json"]
    assert "below their own at most" in repr(found)


def test_one_each_is_written_beside_it(fleet, tmp_path):
    found = search_fleet(fleet, REQUEST, tmp_path / "best.json", one_each=True)
    assert [one.path.name for one in found.members] == ["best.fast.json", "best.slow.json"]
    assert all(one.path.exists() for one in found.members)
    with pytest.raises(OutputError, match=r"exists already"):
        search_fleet(fleet, REQUEST, tmp_path / "best.json", one_each=True)


def test_budgets_that_are_given_come_before_the_files(fleet):
    budget = fleet.devices[0].max_latency_ms
    given = {"fast": budget * 1.1, "slow-1": budget * 1.2, "slow": budget * 1.3}
    found = search_fleet(fleet, REQUEST, max_latency_ms=given)
    assert [(m.name, m.budget_ms) for m in found.members] == [
        ("fast", given["fast"]),
        ("slow-1", given["slow-1"]),
        ("slow", given["slow"]),
    ]


def test_where_there_is_none_for_all_there_is_one_each(fleet, tmp_path):
    given = {"slow": 1e9, "fast": 1e-3}
    with pytest.raises(InfeasibleBudgetError, match=r"latency_ms@fast"):
        search_fleet(fleet, REQUEST, tmp_path / "best.json", max_latency_ms=given)
    assert not list(tmp_path.glob("best*"))


def test_what_is_wrong_is_named(fleet, tmp_path, made_profile):
    with pytest.raises(OptionError, match=r"'fats' is neither a device nor a group of .*did you mean 'fast'"):
        search_fleet(fleet, REQUEST, max_latency_ms={"fats": 1.0})
    with pytest.raises(RecordError, match=r"no profile of unasked; make it: deploy-nas fleet profile"):
        search_fleet(fleet, REQUEST, max_latency_ms={"unasked": 1.0})
    with pytest.raises(OptionError, match=r"is ofa-mbv3-w1.2, which fast does not have"):
        search_fleet(fleet, REQUEST, space="ofa-mbv3-w1.2")
    (tmp_path / "none.toml").write_text(f'[[device]]\nname = "a"\ntarget = "here"\nspaces = ["{SPACE}"]')
    with pytest.raises(BudgetError, match=r"gives no device a latency budget"):
        search_fleet(load_fleet(tmp_path / "none.toml"), REQUEST)
    text = (
        f'spaces = ["{SPACE}", "ofa-mbv3-w1.2"]\n[[device]]\nname = "a"\ntarget = "here"\nmax_latency_ms = 1'
    )
    (tmp_path / "two.toml").write_text(text)
    with pytest.raises(OptionError, match=r"devices with a budget have 2 spaces in common"):
        search_fleet(load_fleet(tmp_path / "two.toml"), REQUEST)
    save_profile(made_profile(threads=2), fleet.folder / f"fast.{SPACE}.profile.json", force=True)
    with pytest.raises(RecordError, match=r"is of threads 2"):
        search_fleet(fleet, REQUEST)
