"""Spreads items over a cluster, whose nodes come and go, and gives the outcomes as they arrive."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from deploy_nas.adapters.pools.outcomes import Outcome
from deploy_nas.adapters.pools.remote import unpickled
from deploy_nas.core.errors import OptionError

# Items that wait on a node while it works on others, so that it need not wait for this machine.
_AHEAD = 2
_LOOK_EVERY_S = 2.0
_LOST_AFTER_S = 15.0
_WAITED_S = 30.0

LOST = "the cluster is lost: its head, or this machine's part of it, ended or cannot be reached"
AGAIN = "start it again, then repeat the command, which goes on: what was measured is kept"


class Cluster(Protocol):
    """A cluster that one job has joined (:class:`~deploy_nas.adapters.pools.ray_cluster.RayCluster`)."""

    def slots(self) -> int:
        """Items that its nodes can work on at once now."""

    def alive(self) -> bool:
        """Whether its head answers; never waits long."""

    def submit(self, item: bytes | None) -> object:
        """Have some node work on an item, again if that node or its process dies; returns the task."""

    def wait(self, tasks: Sequence[object], timeout_s: float) -> Sequence[object]:
        """The tasks that are done, after one is or the time is up."""

    def reply(self, task: object) -> bytes:
        """The reply of a task that is done.

        Raises:
            OptionError: it was given up, or its node is unfit.
        """

    def store(self) -> None:
        """Give the arrays to the cluster, for nodes that do not see their folder; the first call does."""

    def leave(self) -> None:
        """Leave it; one that was started for the job ends."""


class Spread:
    """Items on a cluster.

    Args:
        cluster: that was joined.
        most: items at once at most; ``None``: as many as its nodes have cores.
        say: called with what the user should know.
        stop: whether the rest is not wanted any more.
        clock: in seconds.
    """

    def __init__(
        self,
        cluster: Cluster,
        most: int | None,
        say: Callable[[str], None],
        stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cluster, self.most, self.say = cluster, most, say
        self.stop, self.clock = stop, clock
        self._slots, self._looked_s = 0, -_LOOK_EVERY_S
        self._answered_s = self._moved_s = clock()
        self._said = False

    def make(self) -> Outcome:
        """Make the function on the nodes; the outcome is of the first that is ready."""
        for _, outcome in self._outcomes([None] * max(1, self._room())):
            return outcome
        return None, None

    def __call__(self, items: Sequence[Any]) -> Iterator[tuple[int, Outcome]]:
        """Work on items; yields the number and the outcome of each as it is done.

        Raises:
            OptionError: the cluster is lost.
        """
        yield from self._outcomes([pickle.dumps(item) for item in items])

    def _outcomes(self, items: Sequence[bytes | None]) -> Iterator[tuple[int, Outcome]]:
        waiting, going = deque(range(len(items))), dict[object, int]()
        self._moved_s = self.clock()
        while (waiting or going) and not self.stop():
            room = self._room()
            while waiting and len(going) < room:
                number = waiting.popleft()
                going[self.cluster.submit(items[number])] = number
            done = self.cluster.wait(list(going), 1.0)
            for task in done:
                number = going.pop(task)
                if (outcome := self._outcome(task)) is None:
                    self.cluster.store()
                    waiting.appendleft(number)
                    continue
                self._moved_s, self._said = self.clock(), False
                yield number, outcome

    def _outcome(self, task: object) -> Outcome | None:
        """Of a task that is done; ``None``: its node lacks the arrays."""
        try:
            reply = unpickled(self.cluster.reply(task))
        except OptionError as error:
            if not self.cluster.alive():
                raise OptionError(LOST, subject="cluster", hint=AGAIN) from error
            return error, None
        return None if reply.kind == "lacks" else reply.outcome

    def _room(self) -> int:
        """Items that may be on the way; looks at the cluster every few seconds, and sees if it is lost."""
        now_s = self.clock()
        if now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            if self.cluster.alive():
                self._answered_s = now_s
                self._slots = self.cluster.slots()
            elif now_s - self._answered_s >= _LOST_AFTER_S:
                raise OptionError(LOST, subject="cluster", hint=AGAIN)
            self._wait_is_said(now_s)
        if self.most is not None:
            return min(self.most, max(1, self._slots))
        return max(1, _AHEAD * self._slots)

    def _wait_is_said(self, now_s: float) -> None:
        if self._slots == 0 and now_s - self._moved_s >= _WAITED_S and not self._said:
            self._said = True
            self.say("none of its nodes has a core to work on: waiting for one that joins")
