"""One process at a time has a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import IO

from deploy_nas.core.errors import OutputError


def lock(file: IO[bytes], path: Path, wait_s: float = 0.0) -> None:
    """Take an open file for this process; the system frees it however the process ends.

    On a system without such locks (Windows) a second process is not noticed.

    Raises:
        OutputError: another process has it and kept it for ``wait_s``, or its disk has no locks.
    """
    try:
        import fcntl
    except ImportError:
        return
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise OutputError(
                    "another run is writing it", subject=str(path), hint="wait for it, or name another file"
                ) from None
            time.sleep(0.2)
        except OSError as error:
            raise OutputError(
                f"cannot be kept to one run ({error.strerror})",
                subject=str(path),
                hint="name a file on a local disk",
            ) from error
        else:
            return
