"""Files are read only if they are regular and small enough, and their bytes are text or named."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from deploy_nas.core.errors import DeployNASError
from deploy_nas.core.reader import json_text, name_text, read_regular, shell_quoted, shown, text_of


def test_a_regular_file_is_read_whole_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    assert read_regular(path) == read_regular(path, 10) == b"x" * 10
    with pytest.raises(OSError, match="larger than 9 bytes"):
        read_regular(path, 9)
    (tmp_path / "link").symlink_to(path)
    assert read_regular(tmp_path / "link") == b"x" * 10


def test_anything_else_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name, kind in (("pipe", "pipe"), ("socket", "socket"), (".", "folder"), ("/dev/zero", "device")):
            with pytest.raises(OSError, match=f"it is a {kind}"):
                read_regular(Path(name))
    with pytest.raises(FileNotFoundError):
        read_regular(Path("none"))
    with pytest.raises(OSError, match="path is not valid"):
        read_regular(Path("a\0b"))


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 40)  # takes no place on the disk
    tracemalloc.start()
    try:
        with pytest.raises(OSError, match="larger than 64 MiB"):
            read_regular(tmp_path / "a", 64 << 20)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_file_without_a_size_is_bounded_too() -> None:
    with pytest.raises(OSError, match="larger than 3 bytes"):
        read_regular(Path("/proc/self/status"), 3)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf8_is_text_with_or_without_a_mark(encoding: str) -> None:
    assert text_of('{"a": "é"}'.encode(encoding)) == '{"a": "é"}'


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_other_encodings_are_named(encoding: str) -> None:
    with pytest.raises(ValueError, match=r"UTF-16|UTF-32"):
        text_of('{"a": 1}'.encode(encoding))
    with pytest.raises(ValueError, match="not UTF-8"):
        text_of('{"é": 1}'.encode("latin-1"))


def test_values_are_shown_short_however_deep_or_large() -> None:
    bomb: list[object] = ["ha"] * 9
    for _ in range(30):
        bomb = [bomb] * 9
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (bomb, deep, 16**10_000, "x" * 10**6, {"k" * 1000: bomb}):
        assert len(shown(value)) < 400
    assert shown("a") == "'a'"
    while deep:  # freed level by level
        deep = deep.pop()  # type: ignore[assignment]


def test_a_name_that_is_not_utf8_becomes_text() -> None:
    assert name_text(os.fsdecode(b"caf\xe9/a.json")) == "caf\\xe9/a.json"
    assert name_text(Path("é")) == "é"


ODD = os.fsdecode(b"a'\\/caf\xe9")


def test_a_name_that_is_not_utf8_is_quoted_as_the_shell_takes_it(tmp_path: Path) -> None:
    assert shell_quoted("a b") == "'a b'"
    said = subprocess.run(["bash", "-c", f"printf %s {shell_quoted(ODD)}"], capture_output=True, check=True)
    assert shell_quoted(ODD).isascii() and said.stdout == os.fsencode(ODD)


def test_names_in_json_and_in_errors_are_text() -> None:
    assert json.loads(json_text({"a": [ODD]}).encode()) == {"a": [name_text(ODD)]}
    with pytest.raises(ValueError, match="JSON"):
        json_text(float("nan"))
    error = DeployNASError(f"of {ODD}", subject=ODD, hint="x" * 10_000)
    assert len(str(error).encode()) < 5000
