"""JSON objects read with types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deploy_nas.core.errors import RecordError, VersionError
from deploy_nas.core.fields import Fields, check_format, parse_json

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
    with pytest.raises(RecordError, match=r"a\.json: is not a file of the format 'f'"):
        check_format(Fields({"format": "g", "version": 2}, "a.json"), "f", 2)
    with pytest.raises(VersionError, match=r"a\.json: has format version 3, this deploy-nas reads up to 2"):
        check_format(Fields({"format": "f", "version": 3}, "a.json"), "f", 2)
    with pytest.raises(RecordError, match="'version' must be a whole number of at least 1"):
        check_format(Fields({"format": "f", "version": True}, "a.json"), "f", 2)


def test_optional_fields_of_every_type() -> None:
    fields = Fields({"n": 3, "b": False, "null": None}, "f.json")
    assert (fields.optional_integer("n", 1), fields.optional_boolean("b")) == (3, False)
    assert fields.optional_integer("null") is None and fields.optional_boolean("absent") is None
    assert fields.holds("b") and not fields.holds("null") and not fields.holds("absent")
    with pytest.raises(RecordError, match="'n' must be a whole number of at most 2"):
        fields.optional_integer("n", 1, 2)


def test_maps_of_one_type() -> None:
    fields = Fields({"texts": {"a": "b"}, "numbers": {"x": 1, "y": 2.5}, "bad": {"z": None}}, "f.json")
    assert fields.text_map("texts") == {"a": "b"}
    assert fields.number_map("numbers", positive=True) == {"x": 1.0, "y": 2.5}
    for read in (fields.text_map, fields.number_map):
        with pytest.raises(RecordError, match=r"^f\.json: bad: 'z' must be"):
            read("bad")


@pytest.mark.parametrize("data", [b'{"a": NaN}', b'"\\ud800"', b"\xff", b"[" * 100_000, b"{"])
def test_json_that_cannot_be_written_again_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(data)


def test_json_is_parsed() -> None:
    assert parse_json('{"a": ["é", 1.5, null]}'.encode()) == {"a": ["é", 1.5, None]}
