"""Threads that do jobs, and the desk that they share."""

import threading

import pytest

from deploy_nas.core.errors import RecordError, UnreachableError
from deploy_nas.fleet.crew import Desk, ElsewhereTarget, Threads
from deploy_nas.fleet.schedule import Ended, Job, Schedule, Start, drive


def start(name="a"):
    return Start(job=Job(name=name, host=name))


def test_jobs_run_at_once_and_their_errors_are_theirs():
    together = threading.Barrier(3, timeout=20)

    def work(start):
        together.wait()
        if start.job.name == "b":
            raise UnreachableError("gone")
        if start.job.name == "c":
            raise RecordError("damaged")
        return Ended()

    schedule = Schedule(jobs=[start(n).job for n in "abc"])
    found = drive(schedule, OneTry(work))
    assert found["a"].error is None and found["a"].usable
    assert (found["b"].again, found["c"].again) == (True, False)
    assert str(found["c"].error) == "damaged"


class OneTry(Threads):
    """A clock that has always moved on: nothing waits."""

    def __init__(self, work):
        self.at_s = 0.0
        super().__init__(self.once(work), self.later)

    def later(self):
        self.at_s += 1e9
        return self.at_s

    def once(self, work):
        return lambda start: (
            work(start) if start.number == 1 else Ended(error=UnreachableError("gone"), again=True)
        )


def test_a_fault_of_our_own_is_raised():
    def work(start):
        raise ZeroDivisionError

    crew = Threads(work)
    crew.start(start())
    with pytest.raises(ZeroDivisionError):
        crew.wait(20.0)


def test_waiting_ends_with_the_time():
    assert Threads(lambda start: Ended()).wait(0.0) is None


class Target:
    address = "there"

    def __init__(self, desk):
        self.desk = desk

    def free(self):
        with self.desk:
            return True

    def machine(self):
        return "arm" if self.free() else ""

    def run_kit(self, kit, name, progress=None, *, options=()):
        assert self.free()
        return kit

    def remove_kit(self, name):
        assert self.free()


def test_the_desk_is_left_while_another_machine_works():
    desk = Desk()
    target = ElsewhereTarget(Target(desk), desk)
    with desk:
        assert target.machine() == "arm" and target.run_kit(b"k", "n") == b"k"
        target.remove_kit("n")
        taken = threading.Thread(target=desk.__enter__, daemon=True)
        taken.start()
        taken.join(0.05)
        assert taken.is_alive() and target.address == "there"
    taken.join(20)
    assert not taken.is_alive()
