"""Threads that do a fleet's jobs, and the desk: what is done on this machine, one thing at a time.

Kits are made and profiles fitted on this machine. Were it one of the devices, that would disturb its own
timing. So jobs hold the desk, and leave it only while another machine is timed.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

from deploy_nas.adapters.targets import Progress, Target
from deploy_nas.core.errors import DeployNASError, UnreachableError
from deploy_nas.fleet.schedule import Ended, Start

Work = Callable[[Start], Ended]


class Threads:
    """A crew of threads of this process.

    Args:
        work: does a job; a :class:`DeployNASError` that it raises is the job's, any other is raised here.
        clock: seconds, as ``time.monotonic``.
    """

    def __init__(self, work: Work, clock: Callable[[], float] = time.monotonic) -> None:
        self._work, self._clock = work, clock
        self._ended: queue.SimpleQueue[tuple[str, Ended | BaseException]] = queue.SimpleQueue()

    def now_s(self) -> float:
        """The clock's time."""
        return self._clock()

    def start(self, start: Start) -> None:
        """Begin a job in a thread of its own, which ends with the process at the latest."""
        threading.Thread(target=self._do, args=(start,), name=start.job.name, daemon=True).start()

    def _do(self, start: Start) -> None:
        ended: Ended | BaseException
        try:
            ended = self._work(start)
        except DeployNASError as error:
            ended = Ended(error=error, again=isinstance(error, UnreachableError), usable=False)
        except BaseException as error:
            ended = error
        self._ended.put((start.job.name, ended))

    def wait(self, most_s: float | None) -> tuple[str, Ended] | None:
        """The next job that ends; raises what a job raised beside errors of deploy-nas."""
        try:
            name, ended = self._ended.get(timeout=most_s)
        except queue.Empty:
            return None
        if isinstance(ended, Ended):
            return name, ended
        raise ended


class Desk:
    """This machine's own work: one job at a time has it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> Desk:
        self._lock.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def away(self) -> Away:
        """Within this context, others have the desk."""
        return Away(self._lock)


class Away:
    """The desk, left to others for a time."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.release()

    def __exit__(self, *error: object) -> None:
        self._lock.acquire()


class ElsewhereTarget:
    """A target whose calls leave the desk to others: another machine works meanwhile."""

    def __init__(self, target: Target, desk: Desk) -> None:
        self._target, self._desk, self.address = target, desk, target.address

    def machine(self) -> str:
        """As the target has it."""
        with self._desk.away():
            return self._target.machine()

    def run_kit(
        self, kit: bytes, name: str, progress: Progress | None = None, *, options: Sequence[str] = ()
    ) -> bytes:
        """As the target runs it."""
        with self._desk.away():
            return self._target.run_kit(kit, name, progress, options=options)

    def remove_kit(self, name: str) -> None:
        """As the target removes it."""
        with self._desk.away():
            self._target.remove_kit(name)
