"""The exchange with a page: reloads, sleep, other browsers."""

import threading

import pytest

from deploy_nas.adapters.targets.browser.channel import Channel
from deploy_nas.adapters.targets.browser.facts import PageFacts
from deploy_nas.core.errors import MismatchError, RecordError, TargetError
from deploy_nas.core.fields import Fields
from deploy_nas.core.notices import telling


@pytest.fixture
def facts(page_facts):
    return lambda **changed: PageFacts.from_json(Fields({**page_facts, **changed}, "page"))


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def channel(clock):
    return Channel("page://here", 60.0, clock=clock)


def asked(channel, task):
    """Ask in another thread; returns that, and a list that gets the answer or the error."""
    found = []

    def ask():
        try:
            found.append(channel.ask(task))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread, found


def test_a_task_goes_to_the_page_and_its_answer_comes_back(channel, facts):
    channel.hello("a", facts())
    channel.progress(1, 3, "row")
    thread, found = asked(channel, {"do": "burst"})
    task = channel.turn("a", None, None)
    assert task == {"do": "burst", "task": 1, "done": 1, "total": 3, "what": "row"}
    channel.turn("a", 1, Fields({"runs": 5}, ""), poll_s=0)
    thread.join()
    assert found[0].integer("runs") == 5


def test_after_a_reload_the_lost_task_is_given_again(channel, facts):
    channel.hello("a", facts())
    thread, found = asked(channel, {"do": "burst"})
    lost = channel.turn("a", None, None)
    channel.hello("b", facts(clock_ms=0.2))  # each page measures its clock
    assert channel.turn("a", 1, Fields({}, "late"), poll_s=0) == {"do": "gone"}
    assert channel.turn("b", None, None) == lost
    channel.turn("b", 1, Fields({"of": "b"}, ""), poll_s=0)
    thread.join()
    assert found[0].text("of") == "b" and channel.facts().clock_ms == 0.1
    assert not channel.state("a", hidden=False) and channel.state("b", hidden=False)


def test_another_browser_cannot_go_on_with_the_run(channel, facts):
    channel.hello("a", facts())
    with pytest.raises(MismatchError, match=r"is of another browser .Browser 1 on Android 15"):
        channel.hello("b", facts(agent="another"))
    assert channel.state("a", hidden=False)


def test_an_answer_to_another_task_is_left_out(channel, facts):
    channel.hello("a", facts())
    thread, _ = asked(channel, {"do": "burst"})
    channel.turn("a", None, None)
    channel.turn("a", 7, Fields({}, ""), poll_s=0)
    assert thread.is_alive()
    channel.turn("a", 1, Fields({}, ""), poll_s=0)
    thread.join()


def test_what_the_page_cannot_do_is_an_error(channel, facts):
    channel.hello("a", facts())
    thread, found = asked(channel, {"do": "open"})
    channel.turn("a", None, None)
    channel.turn("a", 1, Fields({"error": "out of memory"}, ""), poll_s=0)
    thread.join()
    assert isinstance(found[0], RecordError) and "the page reports: out of memory" in str(found[0])


def test_a_page_that_sleeps_is_waited_for_and_then_given_up(channel, facts, clock):
    told = []
    with telling(told.append):
        channel.hello("a", facts())
        channel.state("a", hidden=True)
        channel._look()
        channel._look()
        assert len(told) == 1 and "is hidden, or the screen is off" in told[0]
        channel.state("a", hidden=False)
        channel._look()
        clock.now_s += 30
        channel._look()
        channel.state("a", hidden=True, left=True)
        clock.now_s += 61
        with pytest.raises(TargetError, match="the page slept for 81 s; what was timed is kept"):
            channel._look()
    assert "is there again" in told[1] and "is closed, asleep or out of reach" in told[2]


def test_no_page_at_all(channel, clock):
    clock.now_s = 61
    with pytest.raises(TargetError, match="the page did not come for 61 s"):
        channel.facts()


def test_a_browser_that_ended_ends_the_waiting(channel):
    def check():
        raise TargetError("the browser ended")

    channel.check = check
    with pytest.raises(TargetError, match="the browser ended"):
        channel.ask({"do": "open"})


def test_the_end_is_told(channel, facts):
    channel.hello("a", facts())
    assert channel.turn("a", None, None, poll_s=0) == {"do": "wait"}
    channel.end("done")
    assert channel.turn("a", None, None) == {"do": "end", "text": "done", "failed": False}
