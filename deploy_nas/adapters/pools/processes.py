"""One function on many items in worker processes, results in the items' order.

Workers live exactly as long as the run. Each is connected to it by a pipe, which closes even if the run
is killed, and a run that stops terminates its workers at once. (``ProcessPoolExecutor`` leaves its
workers behind when it is killed, and waits for them when it is interrupted.)
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

from deploy_nas.adapters.pools.port import Item, Result
from deploy_nas.core.errors import DeployNASError, OptionError

Outcome = tuple[DeployNASError | str | None, Any]


class ProcessPool:
    """A pool of worker processes.

    ``make`` and its items are pickled: a function of a module, or a dataclass with ``__call__``.

    Args:
        workers: number of processes.
    """

    local = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

    @contextmanager
    def open(
        self, make: Callable[[], Callable[[Item], Result]]
    ) -> Iterator[Callable[[Sequence[Item]], Iterable[Result]]]:
        """Start the processes; arguments and errors as :class:`Pool` has them."""
        # A worker forked from a process in which torch has threads could deadlock.
        context = multiprocessing.get_context("spawn")
        pipes: list[Connection] = []
        processes = []
        try:
            for _ in range(self.workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, make), daemon=True)
                process.start()
                theirs.close()
                pipes.append(ours)
                processes.append(process)
            for pipe in pipes:
                _value(_receive(pipe))
            yield lambda items: _run(pipes, items)
        finally:
            for process in processes:
                process.terminate()
            for pipe in pipes:
                pipe.close()
            for process in processes:
                process.join()


def _run(pipes: Sequence[Connection], items: Sequence[Any]) -> Iterator[Any]:
    at_work: dict[Connection, int] = {}
    finished: dict[int, Outcome] = {}
    begun = 0
    for wanted in range(len(items)):
        while wanted not in finished:
            for pipe in pipes:
                if pipe not in at_work and begun < len(items):
                    with suppress(OSError):  # it has died, which receiving reports
                        pipe.send(items[begun])
                    at_work[pipe], begun = begun, begun + 1
            for pipe in [p for p in connection.wait(list(at_work)) if isinstance(p, Connection)]:
                finished[at_work.pop(pipe)] = _receive(pipe)
        # A fault is raised in its turn, after the results before it were returned.
        yield _value(finished.pop(wanted))


def _receive(pipe: Connection) -> Outcome:
    try:
        outcome: Outcome = pipe.recv()
    except (EOFError, OSError):
        ended = OptionError(
            "a worker process died",
            subject="workers",
            hint="it may have run out of memory: try fewer `workers`; what was measured is kept",
        )
        return ended, None
    return outcome


def _value(outcome: Outcome) -> Any:
    fault, value = outcome
    if isinstance(fault, DeployNASError):
        raise fault
    if fault is not None:
        raise RuntimeError(f"in a worker process:\n{fault}")
    return value


def _serve(pipe: Connection, make: Callable[[], Callable[[Any], Any]]) -> None:
    """A worker: reports that it is ready, then processes items until the run ends."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches every process; the run terminates its workers
    with suppress(EOFError, OSError):
        fault, work = _attempt(make)
        pipe.send((fault, None))
        while work is not None:
            pipe.send(_attempt(work, pipe.recv()))


def _attempt(function: Callable[..., Any], *arguments: Any) -> Outcome:
    try:
        return None, function(*arguments)
    except DeployNASError as error:
        return error, None
    except Exception:
        return traceback.format_exc(), None
