"""Decisions of the schedule, with a crew whose clock is simulated."""

import heapq
import importlib.machinery
import importlib.util
import sys

import pytest

from deploy_nas.core.errors import TargetError, UnreachableError
from deploy_nas.fleet.schedule import Ended, Job, Retry, Schedule, drive

GONE = UnreachableError("gone", subject="x")
BROKEN = TargetError("no onnxruntime", subject="x")


class Crew:
    """``does(start)`` says how long a try takes and how it ends."""

    def __init__(self, does):
        self.does, self.clock_s, self.number, self.events, self.log = does, 0.0, 0, [], []

    def now_s(self):
        return self.clock_s

    def start(self, start):
        took_s, ended = self.does(start)
        self.log.append((self.clock_s, start.job.name, start.source, start.number))
        self.number += 1
        heapq.heappush(self.events, (self.clock_s + took_s, self.number, start.job.name, ended))

    def wait(self, most_s):
        assert self.events or most_s is not None, "would wait for ever"
        if not self.events or (most_s is not None and self.events[0][0] > self.clock_s + most_s):
            self.clock_s += most_s
            return None
        self.clock_s, _, name, ended = heapq.heappop(self.events)
        return name, ended


class Told:
    def __init__(self):
        self.began_, self.ended_ = [], []

    def began(self, start):
        self.began_.append(start.job.name)

    def ended(self, job, ended, again_in_s, tries):
        self.ended_.append((job.name, ended.error is None, again_in_s, tries))


def job(name, host=None, **how):
    return Job(name=name, host=host or name, **how)


def run(jobs, does=lambda start: (1.0, Ended()), **how):
    crew, told = Crew(does), Told()
    found = drive(Schedule(jobs=jobs, **how), crew, told)
    return found, crew, told


def test_devices_run_at_once_but_one_job_at_a_time_on_a_host():
    found, crew, _ = run([job("a", "one"), job("b", "one"), job("c", "two")])
    assert [(at_s, name) for at_s, name, _, _ in crew.log] == [(0.0, "a"), (0.0, "c"), (1.0, "b")]
    assert set(found) == {"a", "b", "c"} and all(one.error is None for one in found.values())


def test_no_more_than_asked_at_once():
    _, crew, _ = run([job(n) for n in "abcde"], parallel=2)
    assert [at_s for at_s, *_ in crew.log] == [0.0, 0.0, 1.0, 1.0, 2.0]


def test_a_device_that_is_gone_is_tried_again_ever_later_and_holds_up_nobody():
    does = {"gone": (1.0, Ended(error=GONE, again=True)), "slow": (100.0, Ended())}
    retry = Retry(tries=3, wait_s=10.0)
    jobs = [job("gone"), job("slow"), job("a"), job("b")]
    found, crew, told = run(jobs, lambda s: does.get(s.job.name, (1.0, Ended())), retry=retry, parallel=2)
    assert [at_s for at_s, name, _, _ in crew.log if name == "gone"] == [0.0, 11.0, 32.0]
    assert [e for e in told.ended_ if e[0] == "gone"] == [
        ("gone", False, 10.0, 1),
        ("gone", False, 20.0, 2),
        ("gone", False, None, 3),
    ]
    assert {at_s for at_s, name, _, _ in crew.log if name in "ab"} == {1.0, 2.0}
    assert found["gone"].error is GONE and found["slow"].error is None and crew.clock_s == 100.0


def test_waits_end_at_the_longest():
    assert [Retry(wait_s=10.0, most_s=60.0).after_s(n) for n in (1, 2, 3, 4, 9999)] == [10, 20, 40, 60, 60]


def test_what_no_other_try_helps_is_tried_once():
    found, crew, _ = run([job("a")], lambda start: (1.0, Ended(error=BROKEN)))
    assert len(crew.log) == 1 and found["a"].error is BROKEN


def kind(names, **how):
    return [job(n, offers=(n, "kind"), like="kind", **how) for n in names]


def test_the_first_of_a_kind_is_timed_in_full_and_the_others_start_from_it():
    _, crew, _ = run(kind("abc"), lambda start: (60.0 if start.source else 600.0, Ended()))
    assert crew.log == [(0.0, "a", None, 1), (600.0, "b", "a", 1), (600.0, "c", "a", 1)]


def test_another_of_the_kind_takes_the_place_of_one_that_is_gone_or_unstable():
    does = {"a": (5.0, Ended(error=GONE, again=True)), "b": (600.0, Ended(usable=False))}
    retry = Retry(tries=2, wait_s=3.0)
    _, crew, _ = run(kind("abcd"), lambda s: does.get(s.job.name, (60.0, Ended())), retry=retry)
    assert crew.log[:3] == [(0.0, "a", None, 1), (5.0, "b", None, 1), (605.0, "c", None, 1)]
    assert {(name, source) for at_s, name, source, _ in crew.log[3:]} == {("d", "c"), ("a", "c")}


def test_one_that_takes_too_long_does_not_hold_up_its_kind():
    does = {"a": (9000.0, Ended())}
    _, crew, _ = run(
        kind("abc"), lambda s: does.get(s.job.name, (600.0, Ended())), retry=Retry(patience_s=50.0)
    )
    assert crew.log == [(0.0, "a", None, 1), (50.0, "b", None, 1), (100.0, "c", None, 1)]


def test_a_profile_that_is_held_is_started_from():
    _, crew, _ = run(kind("ab"), held={"kind": "z"})
    assert [source for _, _, source, _ in crew.log] == ["z", "z"]


def test_those_that_others_wait_for_go_first():
    jobs = [job("x"), job("follows", like="leads", alone=False), job("leads", offers=("leads",))]
    _, crew, _ = run(jobs, parallel=1)
    assert [name for _, name, _, _ in crew.log] == ["leads", "x", "follows"]


def test_devices_like_one_that_fails_are_named_and_not_tried():
    jobs = [
        job("a", offers=("a",)),
        job("b", offers=("b",), like="a", alone=False),
        job("c", like="b", alone=False),
    ]
    found, crew, told = run(jobs, lambda start: (1.0, Ended(error=BROKEN)))
    assert [name for _, name, _, _ in crew.log] == ["a"]
    assert "carry over from 'a'" in str(found["b"].error) and "from 'b'" in str(found["c"].error)
    assert len(told.ended_) == 3


def test_devices_that_wait_for_each_other_end():
    jobs = [job(a, offers=(a,), like=b, alone=False) for a, b in ("ab", "ba")]
    found, crew, _ = run(jobs)
    assert not crew.log and all("not tried" in str(one.error) for one in found.values())


def test_the_simulation_of_a_fleet_drives_it(repository):
    """The same seed gives the same hours, and a kind is timed in full about once."""
    loader = importlib.machinery.SourceFileLoader("simulate_fleet", str(repository / "tools/simulate_fleet"))
    tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("simulate_fleet", loader))
    sys.modules["simulate_fleet"] = tool
    loader.exec_module(tool)
    shares = {"failing": 0.1, "gone": 0.1, "broken": 0.1, "slow": 0.1, "slower": 5.0, "shaky": 0.0}
    desk = {"desk_full_s": (3.0, 1.0), "desk_like_s": (0.6, 0.2), "patience_s": float("inf")}
    world = tool.World(full_s=300.0, like_s=45.0, **shares, **desk)
    lines = [tool.simulate(60, 3, 8, world, 0, True)[:5] for _ in range(2)]
    assert lines[0] == lines[1] and 3 <= lines[0][3] <= 8 and 0 < lines[0][4] < 30


@pytest.mark.parametrize("jobs", [[], [job("a")]])
def test_few_jobs_end(jobs):
    found, _, _ = run(jobs)
    assert len(found) == len(jobs)
