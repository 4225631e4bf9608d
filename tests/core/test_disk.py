"""Files and folders on disk: whole or not at all, whoever else writes and whenever the process ends."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy_nas.core import disk
from deploy_nas.core.disk import put_folder, sweep, temporary_folder, write_whole
from deploy_nas.core.errors import OutputError

LEFT = ".deploy-nas-0123456789abcdef.part"
posix = pytest.mark.skipif(os.name != "posix", reason="needs fork and file locks")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def refusing(code: int) -> Callable[..., None]:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


# -- files -----------------------------------------------------------------------------------------


def test_a_file_that_exists_is_kept_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"old")
    with pytest.raises(OutputError, match=r"a: exists already; use `force`"):
        write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    write_whole(tmp_path / "a", b"new", replace=True)
    assert (tmp_path / "a").read_bytes() == b"new" and names(tmp_path) == ["a"]


@pytest.mark.parametrize("links", [True, False])
def test_of_several_that_write_one_file_at_once_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Another process writes it while this one does, on a disk with links and on one without."""
    path, sync = tmp_path / "a", os.fsync
    if not links:
        monkeypatch.setattr(os, "link", refusing(errno.EPERM))

    def meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        write_whole(path, b"theirs")

    monkeypatch.setattr(os, "fsync", meanwhile)
    with pytest.raises(OutputError, match="exists already"):
        write_whole(path, b"ours")
    assert path.read_bytes() == b"theirs" and names(tmp_path) == ["a"]


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_a_replaced_file_keeps_its_permissions_and_is_private_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    path, sync, seen = tmp_path / "a", os.fsync, list[int]()
    write_whole(path, b"old")
    path.chmod(mode)

    def look(descriptor: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    write_whole(path, b"new", replace=True)
    assert seen == [0o600] and stat.S_IMODE(path.stat().st_mode) == mode


def test_a_name_as_long_as_the_disk_takes_is_written(tmp_path: Path) -> None:
    write_whole(tmp_path / ("n" * 255), b"x")
    assert names(tmp_path) == ["n" * 255]


def test_a_full_disk_is_said_with_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refusing(errno.ENOSPC))
    with pytest.raises(OutputError, match=r"/a: cannot be written \(No space left on device\)"):
        write_whole(tmp_path / "a", b"x")
    assert not names(tmp_path)


@posix
def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, killed_at: Callable[..., bool]
) -> None:
    path = tmp_path / "a"
    write_whole(path, b"old")
    for moment in range(50):
        ended = killed_at(moment, lambda: write_whole(path, b"new", replace=True))
        assert path.read_bytes() in (b"old", b"new")
        if ended:
            break
    assert ended and moment > 3
    write_whole(path, b"last", replace=True)
    assert names(tmp_path) == ["a"], "a later write sweeps up"


# -- what is left behind -----------------------------------------------------------------------------


@posix
def test_what_a_dead_process_left_is_removed_and_the_rest_stays(tmp_path: Path) -> None:
    (tmp_path / LEFT).write_bytes(b"half")
    (tmp_path / LEFT.replace("0", "a")).mkdir()
    (tmp_path / LEFT.replace("0", "a") / "model.onnx").write_bytes(b"half")
    others = [".deploy-nas.part", ".mine.part", "notes", LEFT + "x"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / LEFT.replace("0", "b")).symlink_to(tmp_path / "notes")
    write_whole(tmp_path / "z", b"x")
    assert names(tmp_path) == sorted([*others, LEFT.replace("0", "b"), "z"])


@posix
def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from deploy_nas.core.disk import temporary_folder\n"
        "with temporary_folder(Path(sys.argv[1])) as folder: print(folder.name, flush=True); input()"
    )
    ports = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], text=True, **ports) as other:  # type: ignore[call-overload]
        name = other.stdout.readline().strip()
        sweep(tmp_path)
        assert names(tmp_path) == [name]
        other.kill()
        other.wait()
    assert names(tmp_path) == [name]
    sweep(tmp_path)
    assert not names(tmp_path)


@posix
@pytest.mark.parametrize("before", ["_opened", "hold"])
def test_what_is_removed_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """Another process sweeps between the making of a file or folder and its lock."""
    original = getattr(disk, before)
    swept = []

    def late(what: Any) -> Any:
        monkeypatch.setattr(disk, before, original)
        swept.extend(names(tmp_path))
        sweep(tmp_path)
        return original(what)

    monkeypatch.setattr(disk, before, late)
    with temporary_folder(tmp_path) as folder:
        assert swept and names(tmp_path) == [folder.name] != swept
    if before == "hold":  # a file is locked by the descriptor that made it
        monkeypatch.setattr(disk, before, late)
        write_whole(tmp_path / "a", b"x")
        assert names(tmp_path) == ["a"]


def test_a_folder_that_cannot_be_swept_is_no_fault(tmp_path: Path) -> None:
    sweep(tmp_path / "none")


def test_where_nothing_can_be_locked_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "try_lock", lambda descriptor: False)
    (tmp_path / LEFT).touch()
    write_whole(tmp_path / "a", b"x")
    assert names(tmp_path) == [LEFT, "a"]


# -- folders ----------------------------------------------------------------------------------------


def test_a_temporary_folder_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with pytest.raises(ZeroDivisionError), temporary_folder() as folder:
        assert folder.parent == tmp_path and stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "a").touch()
        raise ZeroDivisionError
    assert not names(tmp_path)
    with pytest.raises(OutputError, match="none: cannot be written"), temporary_folder(tmp_path / "none"):
        pass


@pytest.mark.parametrize("at_once", [True, False])
def test_a_folder_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool) -> None:
    if not at_once:
        monkeypatch.setattr(disk, "_exchanged_at_once", lambda new, path: False)
    path = tmp_path / "b"

    def put(text: str, *, replace: bool = False) -> list[str]:
        with temporary_folder(tmp_path) as new:
            (new / text).touch()
            put_folder(new, path, replace=replace)
            return names(new) if new.exists() else []

    assert put("one") == [] and names(path) == ["one"]
    with pytest.raises(FileExistsError):
        put("two")
    assert names(path) == ["one"]
    path.chmod(0o750)
    assert put("two", replace=True) == ["one"]  # which is then removed
    assert names(path) == ["two"] and stat.S_IMODE(path.stat().st_mode) == 0o750
    assert names(tmp_path) == ["b"]


def test_a_place_that_cannot_be_exchanged_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_exchanged_at_once", lambda new, path: False)
    path, new, rename = tmp_path / "b", tmp_path / "new", Path.rename
    for folder in (path, new):
        folder.mkdir()
        (folder / folder.name).touch()

    def refuse(self: Path, target: Path) -> Path:
        if self == new:
            raise OSError(errno.EBUSY, "busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="busy"):
        put_folder(new, path, replace=True)
    assert names(tmp_path) == ["b", "new"] and names(path) == ["b"]
