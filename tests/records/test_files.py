"""Files are written whole or not at all, and read with the path of what is wrong."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy_nas.core.errors import OutputError, RecordError, VersionError
from deploy_nas.core.fields import Fields, check_format
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
    with pytest.raises(OutputError, match=r"a: exists already; use --force"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    write_atomic(path, b"new", force=True)
    assert path.read_bytes() == b"new"


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
        tmp_path / "none" / "a": "there is no folder",
        tmp_path / "file" / "a": "there is no folder",
        tmp_path / ("n" * 300): "cannot be written",
        Path(os.devnull): "is no regular file",
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
        ('{"a": [1, 2', "is not JSON, or cut short"),
        ("", "is not JSON, or cut short"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ("[" * 200_000, "is not JSON, or cut short"),
        ('{"a":' * 200_000, "is not JSON, or cut short"),
        ("[1]", "must be an object, is list"),
        ("null", "must be an object, is NoneType"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON, or cut short"),
        ('{"a": "\\ud800"}', "is not JSON, or cut short"),
        ('{"a": {"\\uDfff": 1}}', "is not JSON, or cut short"),
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


def test_files_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecordError, match=r"none: cannot be read \(No such file"):
        read_bytes(tmp_path / "none")
    with pytest.raises(RecordError, match="cannot be read"):
        read_bytes(tmp_path)
    (tmp_path / "large").write_bytes(b"123")
    monkeypatch.setattr("deploy_nas.records.files._MAX_JSON_BYTES", 2)
    with pytest.raises(RecordError, match="too large"):
        read_bytes(tmp_path / "large")


# -- typed fields ------------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "text": "t",
    "integer": 3,
    "number": 2.5,
    "boolean": True,
    "numbers": [1, 2.5],
    "integers": [1, 2],
    "texts": ["a"],
    "items": [1, "a"],
    "fields": {"x": 1},
    "objects": [{"x": 1}],
}
BAD: dict[str, list[Any]] = {
    "text": [1, None, ["t"]],
    "integer": ["3", 3.0, True, None],
    "number": ["2.5", True, None, [], 10**400, float("inf")],
    "boolean": [1, "true", None],
    "numbers": ["12", 1, None, {"0": 1}],
    "integers": ["12", None],
    "texts": ["a", None],
    "items": ["ab", {"a": 1}],
    "fields": [[1], "x", None],
    "objects": [{"x": 1}, None],
}


def getter(name: str) -> Callable[[Fields], Any]:
    return lambda fields: getattr(fields, name)(name)


@pytest.mark.parametrize("name", GOOD)
def test_right_types_are_read(name: str) -> None:
    value = getter(name)(Fields(GOOD, "f.json"))
    plain = [v.value for v in value] if name == "objects" else getattr(value, "value", value)
    assert plain == GOOD[name]


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in BAD.items() for v in values], ids=repr)
def test_wrong_types_name_file_and_key(name: str, value: Any) -> None:
    with pytest.raises(RecordError) as caught:
        getter(name)(Fields({**GOOD, name: value}, "f.json"))
    assert caught.value.subject == "f.json"
    assert f"{name!r} must be" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", GOOD)
def test_missing_keys_are_named(name: str) -> None:
    with pytest.raises(RecordError, match=f"^f.json: has no '{name}'$"):
        getter(name)(Fields({}, "f.json"))


def test_ranges_are_kept() -> None:
    fields = Fields({"n": 0, "x": -1.5, "xs": [1, 0]}, "f.json")
    with pytest.raises(RecordError, match="'n' must be a whole number of at least 1, is 0"):
        fields.integer("n", 1)
    with pytest.raises(RecordError, match="'x' must be a positive number"):
        fields.number("x", positive=True)
    with pytest.raises(RecordError, match=r"^f.json: xs\[1\]: "):
        fields.numbers("xs", positive=True)


def test_errors_carry_the_whole_key_path() -> None:
    fields = Fields({"rows": [{"ms": 1}, {"ms": [1, "x"]}], "deep": {"er": {"n": "x"}}}, "f.json")
    with pytest.raises(RecordError, match=r"^f.json: rows\[1\]: ms\[1\]: 'value' must be a finite number"):
        fields.objects("rows")[1].numbers("ms")
    with pytest.raises(RecordError, match=r"^f.json: deep: er: 'n' must be a whole number"):
        fields.fields("deep").fields("er").integer("n")
    with pytest.raises(RecordError, match=r"^f.json: list\[0\]: must be an object, is int"):
        Fields({"list": [1]}, "f.json").objects("list")


def test_optional_fields() -> None:
    fields = Fields({"text": None, "number": 1, "bad": []}, "f.json")
    assert fields.optional_text("text") is None
    assert fields.optional_text("absent") is None
    assert fields.optional_number("number") == 1.0
    for read in (fields.optional_text, fields.optional_number):
        with pytest.raises(RecordError, match="'bad' must be"):
            read("bad")


def test_format_and_version() -> None:
    assert check_format(Fields({"format": "f", "version": 2}, "a.json"), "f", 2) == 2
    with pytest.raises(RecordError, match=r"a\.json: is no file of the format 'f'"):
        check_format(Fields({"format": "g", "version": 2}, "a.json"), "f", 2)
    with pytest.raises(VersionError, match=r"a\.json: has format version 3, this deploy-nas reads up to 2"):
        check_format(Fields({"format": "f", "version": 3}, "a.json"), "f", 2)
    with pytest.raises(RecordError, match="'version' must be a whole number of at least 1"):
        check_format(Fields({"format": "f", "version": True}, "a.json"), "f", 2)
