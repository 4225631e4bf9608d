"""One function on many items in worker processes, results in the items' order.

Workers live exactly as long as the run. Each is connected to it by a pipe, which closes even if the run
is killed, and a run that stops terminates its workers at once. (``ProcessPoolExecutor`` leaves its
workers behind when it is killed, and waits for them when it is interrupted.)
"""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, spawn
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from deploy_nas.adapters.pools.port import Item, Result
from deploy_nas.core.errors import DeployNASError, OptionError

# Ctrl-C reaches every process, and the run ends its workers. Modules are looked for as the run does.
_BOOT = """\
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
import sys
from multiprocessing.connection import Connection
pipe = Connection(int(sys.argv[1]))
sys.path[:] = pipe.recv()
from deploy_nas.adapters.pools.processes import serve
serve(pipe)
"""
_OWN_FOLDER = str(Path(__file__).resolve().parents[3])
_LAST_WORDS_S = 2.0

Outcome = tuple[DeployNASError | str | None, Any]


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
        self, make: Callable[[], Callable[[Item], Result]]
    ) -> Iterator[Callable[[Sequence[Item]], Iterable[Result]]]:
        """Start the processes; arguments and errors as :class:`Pool` has them."""
        workers: list[_Worker] = []
        try:
            for _ in range(self.workers):
                workers.append(_Worker(make))
            for worker in workers:
                _value(worker.receive())
            yield lambda items: _run(workers, items)
        finally:
            for worker in workers:
                worker.end()


class _Worker:
    """A fresh Python that works on what comes through a pipe.

    It does not run the caller's script, as a process of ``multiprocessing`` does: one without
    ``if __name__ == "__main__"`` would begin again in every worker. Nor is it forked, since a process in
    which torch has threads could deadlock.
    """

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = subprocess.Popen(  # noqa: S603 - this Python
            [spawn.get_executable(), "-P", "-c", _BOOT, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        with suppress(OSError):  # it has died, which receiving reports
            self.pipe.send([*sys.path, _OWN_FOLDER])
            self.pipe.send(make)

    def receive(self) -> Outcome:
        """The outcome of an item, or that it died."""
        try:
            outcome: Outcome = self.pipe.recv()
        except (EOFError, OSError):
            return self._died(), None
        return outcome

    def _died(self) -> OptionError:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=_LAST_WORDS_S)
        code = self.process.returncode
        if code is not None and code >= 0:
            why, hint = f"ended with exit code {code}", "what it printed says why"
        else:
            killed = code == -signal.SIGKILL
            why = "was killed" if killed or code is None else f"died of signal {-code}"
            hint = "it may have run out of memory: try fewer `workers`"
        return OptionError(
            f"a worker process {why}", subject="workers", hint=f"{hint}; what was measured is kept"
        )

    def end(self) -> None:
        """Stop it at once."""
        self.process.terminate()
        self.pipe.close()
        self.process.wait()


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
        yield _value(finished.pop(wanted))


def _value(outcome: Outcome) -> Any:
    fault, value = outcome
    if isinstance(fault, DeployNASError):
        raise fault
    if fault is not None:
        raise RuntimeError(f"in a worker process:\n{fault}")
    return value


def serve(pipe: Connection[Any, Any]) -> None:
    """A worker: receives ``make``, reports that it is ready, then processes items until the run ends."""
    with suppress(EOFError, OSError):
        fault, work = _attempt(lambda: pipe.recv()())
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
