"""One function on many items in worker processes, results in the items' order.

Workers live exactly as long as the run. Each is connected to it by a pipe, which closes even if the run
is killed, and a run that stops terminates its workers at once. (``ProcessPoolExecutor`` leaves its
workers behind when it is killed, and waits for them when it is interrupted.)
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

from deploy_nas.adapters.pools.arrays import NONE, Arrays, ArraysFolder, write_arrays
from deploy_nas.adapters.pools.child import Child
from deploy_nas.adapters.pools.outcomes import Outcome, attempt, value_of
from deploy_nas.adapters.pools.port import Item, Result
from deploy_nas.core.disk import temporary_folder
from deploy_nas.core.errors import OptionError


class ProcessPool:
    """A pool of worker processes.

    ``make`` and its items are pickled: a function of a module, or a dataclass with ``__call__``. They
    cannot be of the script that runs, which workers do not import.

    Args:
        workers: number of processes.
    """

    local = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

    @contextmanager
    def open(
        self, make: Callable[[Arrays], Callable[[Item], Result]], arrays: Arrays = NONE
    ) -> Iterator[Callable[[Sequence[Item]], Iterable[Result]]]:
        """Start the processes; arguments and errors as :class:`Pool` has them."""
        workers: list[_Worker] = []
        try:
            # Workers that are ready have the files open: a run that is killed later leaves none behind.
            with temporary_folder() as folder:
                written = write_arrays(arrays, folder) if arrays else None
                for _ in range(self.workers):
                    workers.append(_Worker(make, written))
                for worker in workers:
                    value_of(worker.receive())
            yield lambda items: _run(workers, items)
        finally:
            for worker in workers:
                worker.child.end()


class _Worker:
    """A child that works on what comes through its pipe."""

    def __init__(self, make: Callable[[Arrays], Callable[[Any], Any]], arrays: ArraysFolder | None) -> None:
        self.child = Child(__name__)
        self.pipe = self.child.pipe
        self.child.send(arrays)
        self.child.send(make)

    def receive(self) -> Outcome:
        """The outcome of an item, or that it died."""
        try:
            outcome: Outcome = self.pipe.recv()
        except (EOFError, OSError):
            return self._died(), None
        return outcome

    def _died(self) -> OptionError:
        code = self.child.code()
        if code is not None and code >= 0:
            why, hint = f"ended with exit code {code}", "what it printed says why"
        else:
            killed = code == -signal.SIGKILL
            why = "was killed" if killed or code is None else f"died of signal {-code}"
            hint = "it may have run out of memory: try fewer `workers`"
        return OptionError(
            f"a worker process {why}", subject="workers", hint=f"{hint}; what was measured is kept"
        )


def _run(workers: Sequence[_Worker], items: Sequence[Any]) -> Iterator[Any]:
    by_pipe = {worker.pipe: worker for worker in workers}
    at_work: dict[Connection, int] = {}
    finished: dict[int, Outcome] = {}
    begun = 0
    for wanted in range(len(items)):
        while wanted not in finished:
            for pipe in by_pipe:
                if pipe not in at_work and begun < len(items):
                    with suppress(OSError):  # it has died, which receiving reports
                        pipe.send(items[begun])
                    at_work[pipe], begun = begun, begun + 1
            for pipe in [p for p in connection.wait(list(at_work)) if isinstance(p, Connection)]:
                finished[at_work.pop(pipe)] = by_pipe[pipe].receive()
        # A fault is raised in its turn, after the results before it were returned.
        yield value_of(finished.pop(wanted))


def serve(pipe: Connection[Any, Any]) -> None:
    """A worker: receives arrays and ``make``, reports that it is ready, then processes items."""
    with suppress(EOFError, OSError):
        arrays = pipe.recv()
        fault, work = attempt(lambda: pipe.recv()(NONE if arrays is None else arrays.read()))
        pipe.send((fault, None))
        while work is not None:
            pipe.send(attempt(work, pipe.recv()))
