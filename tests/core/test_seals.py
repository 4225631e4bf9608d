"""Seals: every changed value is found, and a damaged line costs that line."""

import copy
import json
import sys

import pytest

from deploy_nas.core.errors import MismatchError
from deploy_nas.core.fields import Fields
from deploy_nas.core.notices import Notice
from deploy_nas.core.seals import (
    DIGEST,
    check_format_sealed,
    check_seal,
    digest_of,
    read_lines,
    sealed,
    sealed_line,
    tell_faults,
)

VALUE = {"version": 2, "a": 1.5, "b": [1, 2.0, "x", None, True], "c": {"é": {"deep": [0.1]}}}


def places(value, path=()):
    """The path of every value that is no container."""
    inner = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    return [path] if inner is None else [p for key, held in inner for p in places(held, (*path, key))]


def test_what_was_sealed_is_sound_however_it_is_laid_out():
    text = json.dumps(sealed(VALUE), indent=3, ensure_ascii=False)
    read = json.loads(text)
    assert check_seal(Fields(read, "f"), required=True)
    assert check_seal(Fields(dict(reversed(read.items())), "f"))
    assert sealed(sealed(VALUE)) == sealed(VALUE)
    assert digest_of({1: (2, 3)}) == digest_of({"1": [2, 3]})  # as a reader of the file has it


@pytest.mark.parametrize("path", places(VALUE), ids=str)
def test_every_changed_value_is_found(path):
    value = copy.deepcopy(sealed(VALUE))
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = 7.25
    with pytest.raises(MismatchError, match=r"^f: was edited or damaged.*make it again"):
        check_seal(Fields(value, "f"))


def test_added_and_removed_keys_are_found():
    for value in ({**sealed(VALUE), "more": 1}, {k: v for k, v in sealed(VALUE).items() if k != "a"}):
        with pytest.raises(MismatchError):
            check_seal(Fields(value, "f"))


def test_a_value_nested_too_deeply_does_not_fit():
    deep: object = 1
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]
    with pytest.raises(MismatchError, match="was edited or damaged"):
        check_seal(Fields({"a": deep, DIGEST: "0" * 64}, "f"))


@pytest.mark.parametrize("digest", ["", "0" * 64, None, 5, digest_of(VALUE)[:63]])
def test_another_digest_is_refused(digest):
    with pytest.raises(MismatchError, match=r"; as said$"):
        check_seal(Fields({**VALUE, DIGEST: digest}, "f"), hint="as said")


def test_no_digest_is_older_or_foreign_unless_the_version_has_one():
    assert not check_seal(Fields(VALUE, "f"))
    with pytest.raises(MismatchError, match="its digest is missing"):
        check_format_sealed(Fields(VALUE, "f"), sealed_since=2)
    with pytest.warns(Notice, match="f: was not written by this deploy-nas, or was edited since"):
        assert not check_format_sealed(Fields({**VALUE, "version": 1}, "f"), sealed_since=2)


# -- lines ---------------------------------------------------------------------------------------


def lines(count: int) -> list[bytes]:
    return [sealed_line({"v": number}, number).rstrip() for number in range(2, 2 + count)]


def values(found) -> list[object]:
    return [fields.value["v"] for _, fields in found.held]


def test_lines_are_as_they_were_written():
    found = read_lines(lines(4), "f", all_sealed=True)
    assert values(found) == [2, 3, 4, 5] and not found.faults and found.last == 5
    assert all(set(fields.value) == {"v"} for _, fields in found.held)
    assert read_lines([], "f", all_sealed=True).last == 1


def test_every_flipped_bit_costs_its_line():
    whole = lines(3)
    for byte in range(len(whole[1])):
        for bit in range(8):
            damaged = bytearray(whole[1])
            damaged[byte] ^= 1 << bit
            found = read_lines([whole[0], bytes(damaged), whole[2]], "f", all_sealed=True)
            # a flip that leaves the same JSON, such as another kind of space, has no effect
            if values(found) != [2, 3, 4]:
                assert values(found) == [2, 4], damaged
                assert found.faults == ("line 3 was edited or damaged and is left out",)
            assert found.last == 4


def test_doubled_dropped_and_exchanged_lines():
    a, b, c, d = lines(4)
    found = read_lines([a, b, b, c, d], "f", all_sealed=True)
    assert values(found) == [2, 3, 4, 5] and found.last == 5
    assert found.faults == ("line 4 is line 3 again and is left out",)
    found = read_lines([a, d], "f", all_sealed=True)
    assert values(found) == [2, 5] and found.last == 5
    assert found.faults == ("missing: line 3 of those that were written and 1 more",)
    found = read_lines([a, c, b, d], "f", all_sealed=True)
    assert values(found) == [2, 4, 3, 5] and not found.faults


def test_lines_without_digests_are_for_older_files_alone():
    old = [b'{"v": 2}', b"", b'{"v": 3}', b"[1]", *lines(4)[3:]]
    found = read_lines(old, "f", all_sealed=False)
    assert values(found) == [2, 3, 5]
    assert found.faults == ("line 5 was edited or damaged and is left out",)
    assert values(read_lines(old, "f", all_sealed=True)) == [5]


def test_a_number_far_ahead_takes_no_time():
    found = read_lines([sealed_line({"v": 1}, 10**15)], "f", all_sealed=True)
    assert values(found) == [1] and found.last == 10**15


def test_faults_are_one_notice():
    with pytest.warns(Notice, match=r"^f: 0; 1; 2; 3; 4; and 3 more$") as told:
        tell_faults([str(n) for n in range(8)], "f")
    assert len(told) == 1
