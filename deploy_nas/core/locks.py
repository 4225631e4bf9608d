"""File locks: one process at a time writes a file."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import IO

from deploy_nas.core.errors import OutputError


def lock(file: IO[bytes], path: Path, wait_s: float = 0.0) -> None:
    """Lock an open file for this process; the system releases the lock when the process ends.

    Does nothing on systems without such locks (Windows).

    Args:
        file: the open file.
        path: its path, for errors.
        wait_s: how long to wait for another process.

    Raises:
        OutputError: another process still holds the lock after ``wait_s``, or the disk has no locks.
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


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder for as long as it is open; false if another process has it locked.

    Where nothing can be locked (Windows, some network disks) it is false too: it may well be in use.
    """
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def hold(descriptor: int) -> None:
    """Lock an open file or folder for as long as it is open, however long another process has it locked.

    Does nothing where nothing can be locked.
    """
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
