"""Files and folders on disk: whole or not at all, whoever else writes and whenever this process ends.

Everything is written under a temporary name beside its place and then moved there in one step. While it is
written, it is locked. What a killed process left is unlocked, and the next write into the same folder
removes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy_nas.core.errors import OutputError
from deploy_nas.core.locks import hold, try_lock

_PART = ".deploy-nas-{}.part"
_OURS = re.compile(r"\.deploy-nas-[0-9a-f]{16}\.part")
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def write_whole(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a file, or leave what is there as it was.

    Without ``replace``, of several processes that write one path a single one succeeds. A file that is
    replaced keeps its permissions.

    Raises:
        OutputError: it cannot be written, or exists already and is not to be replaced.
    """
    sweep(path.parent)
    part: Path | None = None
    try:
        mode = _mode(path)
        descriptor, part = _open_part(path.parent, 0o666 if mode is None else 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if mode is not None:
                part.chmod(mode)
            if os.name == "nt":  # where an open file cannot be moved
                file.close()
            if replace:
                part.replace(path)
            else:
                _put_new(part, path)
    except FileExistsError as error:
        raise exists_already(path) from error
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink()


@contextlib.contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder in ``parent``, else in the system's folder for temporary files; it is removed at the end.

    Raises:
        OutputError: it cannot be made.
    """
    within = Path(tempfile.gettempdir()) if parent is None else parent
    sweep(within)
    try:
        descriptor, folder = _open_folder(within)
    except OSError as error:
        raise unwritable(within, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def put_folder(new: Path, path: Path, *, replace: bool = False) -> None:
    """Move a finished folder to its place beside it; what was there is where the new one was, afterwards.

    Args:
        new: in the same parent folder.
        path: missing or an empty folder, or any folder if it is to be replaced.
        replace: exchange the two.

    Raises:
        FileExistsError: the place is taken.
        OSError: it cannot be moved; both stay as they were.
    """
    mode = _mode(path)
    new.chmod(_mode_of_new_folders(new) if mode is None else mode)
    try:
        new.rename(path)
    except OSError:
        if not path.is_dir():
            raise
        if not any(path.iterdir()):  # elsewhere than on POSIX, an empty folder is in the way
            path.rmdir()
            new.rename(path)
        elif replace:
            _exchange(new, path)
        else:
            raise FileExistsError(path) from None


def _exchange(new: Path, path: Path) -> None:
    """Exchange two folders: in one step on Linux, elsewhere in three, of which no other process sees one."""
    if _exchanged_at_once(new, path):
        return
    parent = _opened(path.parent)
    try:
        if parent is not None:
            hold(parent)
        old = path.with_name(f".{path.name}.old")  # no sweep removes it
        shutil.rmtree(old, ignore_errors=True)  # a killed process left it, but what replaced it is there
        path.rename(old)
        try:
            new.rename(path)
        except BaseException:
            old.rename(path)
            raise
        old.rename(new)
    finally:
        if parent is not None:
            os.close(parent)


def _exchanged_at_once(new: Path, path: Path) -> bool:
    """Whether the system could exchange two paths in one step."""
    import ctypes

    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or an old C library
        return False
    done: int = rename(here, os.fsencode(new), here, os.fsencode(path), exchange)
    return done == 0


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder; what is in use stays, and nothing is raised."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name):
                _remove_if_left(Path(entry.path))


def _remove_if_left(path: Path) -> None:
    descriptor = _opened(path)
    if descriptor is None:
        return
    try:
        if not try_lock(descriptor):
            return
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int | None:
    """A descriptor to lock it by; ``None`` if it cannot be opened."""
    try:
        return os.open(path, _READ)
    except OSError:
        return None


def _open_part(folder: Path, mode: int) -> tuple[int, Path]:
    """A new, empty, locked file under a temporary name, with permissions as the user's mask leaves them."""
    while True:
        path = folder / _PART.format(secrets.token_hex(8))
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        hold(descriptor)
        if path.exists():  # else another process took it for one that was left, before it was locked
            return descriptor, path
        os.close(descriptor)


def _open_folder(within: Path) -> tuple[int | None, Path]:
    """A new, empty, locked folder under a temporary name, and a descriptor of it if the system has such."""
    while True:
        folder = within / _PART.format(secrets.token_hex(8))
        folder.mkdir(mode=0o700)
        descriptor = _opened(folder)
        if descriptor is not None:
            hold(descriptor)
        if folder.exists():
            return descriptor, folder
        if descriptor is not None:
            os.close(descriptor)


def _put_new(part: Path, path: Path) -> None:
    """Move a file to a place that must be free."""
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a disk without links: claim the name first
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        part.replace(path)


def _mode(path: Path) -> int | None:
    """The permissions of what is there; ``None`` if nothing is."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def _mode_of_new_folders(within: Path) -> int:
    """The permissions that the user's mask leaves new folders: one is made, since asking changes the mask."""
    probe = within / _PART.format(secrets.token_hex(8))
    probe.mkdir()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.rmdir()
    return mode


def exists_already(path: Path) -> OutputError:
    """The error for a file that is in the way."""
    return OutputError("exists already", subject=str(path), hint="use `force` to replace it")


def unwritable(path: Path, error: OSError) -> OutputError:
    """The error for a path that the system refuses."""
    return OutputError(f"cannot be written ({error.strerror or error})", subject=str(path))
