"""One process at a time has a file."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from deploy_nas.core.errors import OutputError
from deploy_nas.core.locks import lock

fcntl = pytest.importorskip("fcntl")


def test_a_second_opener_is_refused_until_the_first_closes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("a+b") as first:
        lock(first, path)
        with path.open("a+b") as second, pytest.raises(OutputError, match="file: another run is writing it"):
            lock(second, path)
    with path.open("a+b") as third:
        lock(third, path)


def test_it_waits_for_another_run(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("a+b") as first, path.open("a+b") as second:
        lock(first, path)
        begun = time.monotonic()
        with pytest.raises(OutputError):
            lock(second, path, wait_s=0.3)
        assert time.monotonic() - begun >= 0.3


def test_a_disk_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    path = tmp_path / "file"
    with (
        path.open("a+b") as file,
        pytest.raises(OutputError, match=r"\(No locks available\); name a file on a local disk"),
    ):
        lock(file, path)
