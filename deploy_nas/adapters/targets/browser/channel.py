"""The exchange with a page: one task at a time, answered by the page that is open now.

A task that a page did not answer is given to the next page of the same browser: after a reload, the run goes
on with the task that was lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from deploy_nas.adapters.targets.browser.facts import PageFacts
from deploy_nas.core.errors import MismatchError, RecordError, TargetError
from deploy_nas.core.fields import Fields, JsonObject
from deploy_nas.core.notices import notice

_LOOK_S = 0.5
_AWAY_S = 20.0  # a page says every 5 s that it is there
POLL_S = 15.0
KEPT = "what was timed is kept; the same command goes on"

WAIT: JsonObject = {"do": "wait"}
GONE: JsonObject = {"do": "gone"}


class Channel:
    """Tasks to a page, and its answers.

    Args:
        address: of the target, the subject of errors.
        patience_s: how long a page may be away.
        check: raises if no page can come any more.
        clock: seconds.
    """

    def __init__(
        self,
        address: str,
        patience_s: float,
        check: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address, self.patience_s, self.check, self._clock = address, patience_s, check, clock
        self._turns = threading.Condition()
        self._number = 0
        self._task: JsonObject | None = None
        self._answer: Fields | None = None
        self._end: JsonObject | None = None
        self._progress: tuple[int, int, str] = (0, 0, "")
        self._page = ""
        self._facts: PageFacts | None = None
        self._seen, self._polling, self._hidden, self._told = clock(), 0, False, ""

    # -- the run's side ------------------------------------------------------------------------

    def facts(self) -> PageFacts:
        """The page's words on itself, once there is one; raises :class:`TargetError` if it stays away."""
        with self._turns:
            while self._facts is None:
                self._turns.wait(_LOOK_S)
                self._look()
            return self._facts

    def ask(self, task: JsonObject) -> Fields:
        """Give the page a task and wait for its answer.

        Raises:
            TargetError: the page was away for too long, or its browser has ended.
            RecordError: the page could not do it.
        """
        with self._turns:
            self._number += 1
            self._task, self._answer = {**task, "task": self._number}, None
            self._turns.notify_all()
            try:
                while self._answer is None:
                    self._turns.wait(_LOOK_S)
                    if self._answer is None:
                        self._look()
                answer = self._answer
            finally:
                self._task = self._answer = None
        if answer.holds("error"):
            raise RecordError(f"the page reports: {answer.text('error')}", subject=self.address)
        return answer

    def progress(self, done: int, total: int, what: str) -> None:
        """Let the page show this with its next task."""
        self._progress = (done, total, what)

    def end(self, text: str, *, failed: bool = False) -> None:
        """Tell the page that there is nothing more to do."""
        with self._turns:
            self._end = {"do": "end", "text": text, "failed": failed}
            self._turns.notify_all()

    def _look(self) -> None:
        """Say what keeps the page from working; raise once it has been away for too long."""
        self.check()
        away_s = 0.0 if self._polling else self._clock() - self._seen
        if away_s > self.patience_s:
            asleep = "slept" if self._hidden else "was away" if self._facts is not None else "did not come"
            raise TargetError(f"the page {asleep} for {away_s:.0f} s", subject=self.address, hint=KEPT)
        state = ""
        if self._facts is not None and self._hidden:
            state = "the page is hidden, or the screen is off: timing waits until it is seen again"
        elif self._facts is not None and away_s > min(_AWAY_S, self.patience_s / 2):
            state = f"the page is closed, asleep or out of reach: timing waits {self.patience_s:.0f} s for it"
        if state != self._told:
            notice(state or "the page is there again: timing goes on", subject=self.address)
            self._told = state

    # -- the page's side -----------------------------------------------------------------------

    def hello(self, page: str, facts: PageFacts) -> None:
        """A page was opened, or loaded again: it takes the place of the one before.

        Raises:
            MismatchError: it is another browser than the one that the run began in.
        """
        with self._turns:
            if self._facts is not None and not self._facts.same_browser(facts):
                raise MismatchError(
                    f"this run is of another browser ({self._facts.browser} on {self._facts.os})",
                    subject=facts.browser,
                    hint="open the page there, or start the command again",
                )
            self._page, self._hidden = page, False
            self._facts = self._facts or facts
            self._seen = self._clock()
            self._turns.notify_all()

    def state(self, page: str, *, hidden: bool, left: bool = False) -> bool:
        """The page is there, seen or hidden, or was left; false if it is not the one that is measured in."""
        with self._turns:
            if page != self._page:
                return False
            self._seen, self._hidden = self._clock() - (_AWAY_S if left else 0.0), hidden
            return True

    def turn(
        self, page: str, answered: int | None, answer: Fields | None, poll_s: float = POLL_S
    ) -> JsonObject:
        """Take a page's answer; returns its next task, or ``wait`` after a while without one."""
        with self._turns:
            if page != self._page:
                return GONE
            self._seen = self._clock()
            if answer is not None and self._task is not None and answered == self._task["task"]:
                self._answer = answer
                self._turns.notify_all()
            self._polling += 1
            try:
                self._turns.wait_for(lambda: page != self._page or self._end or self._open_task(), poll_s)
            finally:
                self._polling -= 1
                self._seen = self._clock()
            if page != self._page:
                return GONE
            if self._end is not None:
                return self._end
            if (task := self._open_task()) is None:
                return WAIT
            done, total, what = self._progress
            return {**task, "done": done, "total": total, "what": what}

    def _open_task(self) -> JsonObject | None:
        return self._task if self._answer is None else None
