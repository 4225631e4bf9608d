"""A fresh Python that serves this process through a pipe, and ends with it.

It does not run the caller's script, as a process of ``multiprocessing`` does: one without
``if __name__ == "__main__"`` would begin again in every child. Nor is it forked, since a process in which
torch has threads could deadlock. The pipe closes even if this process is killed, and the child then ends.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from contextlib import suppress
from multiprocessing import spawn
from pathlib import Path
from typing import IO, Any

# Ctrl-C reaches every process, and the run ends its children. Modules are looked for as the run does.
_BOOT = """\
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
import sys
from multiprocessing.connection import Connection
pipe = Connection(int(sys.argv[1]))
sys.path[:] = pipe.recv()
from {module} import serve
serve(pipe)
"""
_OWN_FOLDER = str(Path(__file__).resolve().parents[3])
_LAST_WORDS_S = 2.0


class Child:
    """A process, and our end of its pipe.

    Args:
        module: whose ``serve(pipe)`` it runs.
        printed: file for all that it prints; ``None``: that goes where ours goes.
    """

    def __init__(self, module: str, printed: IO[bytes] | None = None) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = subprocess.Popen(  # noqa: S603 - this Python
            [spawn.get_executable(), "-P", "-c", _BOOT.format(module=module), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
        )
        theirs.close()
        self.send([*sys.path, _OWN_FOLDER])

    def send(self, message: Any) -> None:
        """Send a message; that it has died is seen when it is received from."""
        with suppress(OSError):
            self.pipe.send(message)

    def code(self) -> int | None:
        """The exit code of a child that has just gone, negative for a signal; ``None`` if it has not."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=_LAST_WORDS_S)
        return self.process.returncode

    def end(self, patience_s: float = 0.0) -> None:
        """Stop it: at once, or when it has had some time to end by itself, since its pipe closes."""
        self.pipe.close()
        with suppress(subprocess.TimeoutExpired):
            if patience_s:
                self.process.wait(timeout=patience_s)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=_LAST_WORDS_S)
        self.process.kill()
        self.process.wait()
