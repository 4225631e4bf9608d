"""Seals: the digest that every JSON object in a file carries of its own content.

A number that is changed by hand no longer fits the digest, and the file is refused. An object without a
digest was written by hand, by another program or by an older deploy-nas: it can be used, but the numbers
in it are nobody's measurement or prediction. A seal finds damage and edits; it is not a signature, since
anybody can compute it.

In files of JSON lines each line has a digest and its number, so damage costs a line and not the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.fields import Fields, JsonObject, parse_json
from deploy_nas.core.notices import notice
from deploy_nas.core.reader import json_text

DIGEST, LINE = "digest", "line"
UNSEALED = "was not written by this deploy-nas, or was edited since (it has no digest)"
EDITED = "was edited or damaged: its digest does not match its content"
_AGAIN = "restore it, or make it again"
LEFT_OUT = " and is left out"
_LINE_DIGITS = 16
_SHOWN, _MOST_MISSING = 5, 1_000_000


def digest_of(value: JsonObject) -> str:
    """sha256 of an object's canonical JSON, without its own digest: 64 hexadecimal digits.

    Raises ``ValueError`` for NaN and infinity, which JSON cannot hold, and for a value nested too deeply.
    """
    try:
        # Twice: whole numbers as keys and tuples have to be what a reader of the file gets.
        content = json.loads(json_text({key: held for key, held in value.items() if key != DIGEST}))
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def sealed(value: JsonObject) -> dict[str, object]:
    """The object with its digest, as the last key."""
    return {**{key: held for key, held in value.items() if key != DIGEST}, DIGEST: digest_of(value)}


def check_seal(fields: Fields, *, required: bool = False, hint: str = _AGAIN) -> bool:
    """True for an object with its digest, false for one without any.

    Args:
        fields: the object as read.
        required: true for a format whose objects all have one.
        hint: what to do about an object that was edited.

    Raises:
        MismatchError: the digest is of another content, or a required one is missing.
    """
    if DIGEST not in fields.value and not required:
        return False
    if DIGEST not in fields.value:
        raise MismatchError("was edited: its digest is missing", subject=fields.where, hint=hint)
    if not _fits(fields.value[DIGEST], fields.value):
        raise MismatchError(EDITED, subject=fields.where, hint=hint)
    return True


def _fits(stated: object, value: JsonObject, digits: int | None = None) -> bool:
    try:
        return stated == digest_of(value)[:digits]
    except ValueError:  # 1e999 is read as infinity
        return False


def check_format_sealed(fields: Fields, *, sealed_since: int, hint: str = _AGAIN) -> bool:
    """As :func:`check_seal`, for a format whose ``version`` has digests since ``sealed_since``.

    A file without one is named in a notice.
    """
    held = check_seal(fields, required=fields.integer("version", 1) >= sealed_since, hint=hint)
    if not held:
        notice(f"{UNSEALED}: its numbers cannot be checked", subject=fields.where)
    return held


# -- lines ---------------------------------------------------------------------------------------


def sealed_line(value: JsonObject, number: int) -> bytes:
    """The object as a line of a file, the first of which has the number 1, with its number and digest."""
    numbered = {**value, LINE: number}
    whole = {**numbered, DIGEST: digest_of(numbered)[:_LINE_DIGITS]}
    return json_text(whole).encode() + b"\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lines:
    """The lines of a file after its first, as far as they are sound.

    Args:
        held: each with the number of the line that it stands on.
        faults: a sentence for each line that is damaged, doubled or missing.
        last: number of the last line, for the next one.
    """

    held: tuple[tuple[int, Fields], ...]
    faults: tuple[str, ...]
    last: int


def tell_faults(faults: Sequence[str], subject: str) -> None:
    """Give one notice of all lines that are left out; none without faults."""
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        notice(f"{'; '.join(faults[:_SHOWN])}{more}", subject=subject)


def lines_of(content: bytes) -> list[bytes]:
    """The lines of a file as its writer ended them; other characters that end lines are damage within one."""
    return content.split(b"\n")


def read_lines(lines: Sequence[bytes], subject: str, *, all_sealed: bool) -> Lines:
    """Objects from lines, of which a damaged or doubled one is left out.

    Args:
        lines: those after the first, without their ends; empty ones do not count.
        subject: names the file.
        all_sealed: false for files that may hold lines without digests.
    """
    held: list[tuple[int, Fields]] = []
    faults: list[str] = []
    missing: set[int] = set()
    last, seen = 1, set[int]()
    for place, line in enumerate(lines, 2):
        if not line.strip():
            continue
        fields = _sound(line, f"{subject}: line {place}", all_sealed)
        if fields is None:
            faults.append(f"line {place} was edited or damaged{LEFT_OUT}")
            last += 1
            continue
        number = fields.value.pop(LINE, last + 1)
        assert isinstance(number, int)  # noqa: S101 - as _sound gives it
        if number in seen:
            faults.append(f"line {place} is line {number} again{LEFT_OUT}")
            continue
        missing.update(range(last + 1, min(number, last + 1 + _MOST_MISSING)))
        missing.discard(number)
        seen.add(number)
        last = max(last, number)
        held.append((place, fields))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        faults.append(f"missing: line {min(missing)} of those that were written{more}")
    return Lines(held=tuple(held), faults=tuple(faults), last=last)


def _sound(line: bytes, where: str, all_sealed: bool) -> Fields | None:
    """The object of a line without its digest; ``None`` if it is damaged."""
    try:
        fields = Fields(parse_json(line), where)
    except (ValueError, RecordError):
        return None
    stated = fields.value.pop(DIGEST, None)
    if stated is None:
        return None if all_sealed or LINE in fields.value else fields
    if not _fits(stated, fields.value, _LINE_DIGITS):
        return None
    number = fields.value.get(LINE)
    return fields if isinstance(number, int) and not isinstance(number, bool) and number > 1 else None
