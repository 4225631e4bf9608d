"""Files are written whole or not at all, and read with the path of what is wrong."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from deploy_nas.core.errors import OutputError, RecordError
from deploy_nas.records.files import check_output, read_bytes, read_json, write_atomic, write_json

# -- writing -----------------------------------------------------------------------------------


def test_write_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"name": "ü", "n": [1, 2.5]})
    assert read_json(path).value == {"name": "ü", "n": [1, 2.5]}
    assert path.read_bytes().endswith(b"}\n")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")
    with pytest.raises(OutputError, match=r"a: exists already; use `force`"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    write_atomic(path, b"new", force=True)
    assert path.read_bytes() == b"new"


def test_a_file_that_holds_just_that_already_stays(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"same")
    before = path.stat()
    write_atomic(path, b"same")
    assert path.stat().st_ino == before.st_ino
    for other in (b"Same", b"sam", b"same\n"):
        with pytest.raises(OutputError, match="exists already"):
            write_atomic(path, other)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_on_the_way_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OutputError, match=r"a: cannot be written \(No space left on device\)"):
        write_atomic(path, b"new", force=True)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_an_interruption_on_the_way_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new", force=True)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_unusable_places_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    places = {
        tmp_path: "is a folder",
        tmp_path / "none" / "a": "does not exist",
        tmp_path / "file" / "a": "does not exist",
        tmp_path / ("n" * 300): "cannot be written",
        Path(os.devnull): "is not a regular file",
    }
    for path, what in places.items():
        with pytest.raises(OutputError, match=what) as caught:
            write_atomic(path, b"x", force=True)
        assert caught.value.subject == str(path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        check_output(tmp_path / "a")
    tmp_path.chmod(0o000)
    with pytest.raises(OutputError, match="cannot be written"):
        check_output(tmp_path / "a")
    tmp_path.chmod(0o700)


def test_a_folder_that_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match=r"the folder .* cannot be written"):
        write_atomic(tmp_path / "a", b"x")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_never_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a", {"x": value})
    assert not list(tmp_path.iterdir())


# -- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"a": [1, 2', "is not JSON, or is cut short"),
        ("", "is not JSON, or is cut short"),
        ('{"a": NaN}', "NaN is not a finite number"),
        ('{"a": -Infinity}', "-Infinity is not a finite number"),
        ("[" * 200_000, "is not JSON, or is cut short"),
        ('{"a":' * 200_000, "is not JSON, or is cut short"),
        ("[1]", "must be an object, is list"),
        ("null", "must be an object, is NoneType"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON, or is cut short"),
        ('{"a": "\\ud800"}', "is not JSON, or is cut short"),
        ('{"a": {"\\uDfff": 1}}', "is not JSON, or is cut short"),
    ],
    ids=[
        "cut",
        "empty",
        "nan",
        "infinity",
        "deep-list",
        "deep-object",
        "list",
        "null",
        "huge-number",
        "half-text",
        "half-key",
    ],
)
def test_what_is_no_json_object_is_named(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=what) as caught:
        read_json(path)
    assert caught.value.subject == str(path)


def test_escaped_characters_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": "\\u00e9 \\ud83d\\ude00"}')
    assert read_json(path).text("a") == "\u00e9 \U0001f600"


def test_every_cut_of_a_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    data = json.dumps({"space": "s", "ks": [3, 5], "predicted": {"x": 1.5}}).encode()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(RecordError):
            read_json(path)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(RecordError, match="is not JSON"):
        read_json(tmp_path / "a")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"none: cannot be read \(No such file"):
        read_bytes(tmp_path / "none")
    with pytest.raises(RecordError, match="cannot be read"):
        read_bytes(tmp_path)
    (tmp_path / "large").write_bytes(b"123")
    with pytest.raises(RecordError, match="larger than 2 bytes"):
        read_bytes(tmp_path / "large", 2)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecordError, match=r"pipe: cannot be read .it is a pipe"):
        read_json(tmp_path / "pipe")


def test_json_may_begin_with_a_byte_order_mark_and_other_encodings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes('{"name": "ü"}'.encode("utf-8-sig"))
    assert read_json(path).text("name") == "ü"
    path.write_bytes('{"name": "ü"}'.encode("utf-16"))
    with pytest.raises(RecordError, match="encoding is UTF-16: save it as UTF-8"):
        read_json(path)


@pytest.mark.parametrize("value", ["[" * 10_000 + "]" * 10_000, "1" + "0" * 400, "1" + "0" * 5000])
def test_values_that_are_too_deep_or_too_large_are_the_files_fault(tmp_path: Path, value: str) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"n": ' + value + "}")
    with pytest.raises(RecordError) as caught:
        read_json(path).integer("n")
    assert len(str(caught.value)) < 400 + len(str(path))
