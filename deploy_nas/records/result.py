"""Result files: all that a search or a front search found, with what was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy_nas.core.errors import RecordError, VersionError
from deploy_nas.core.fields import Fields
from deploy_nas.core.space import Space
from deploy_nas.records.architecture import ArchitectureRecord, parse_architecture, parse_space
from deploy_nas.records.files import read_json, write_atomic

FORMAT = "deploy-nas search result"
VERSION = 1
SEARCH, FRONT = "search", "front"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One architecture found; ``measured`` holds ``latency_ms`` and ``within_budget`` if it was timed."""

    record: ArchitectureRecord
    measured: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRecord:
    """What was asked and what was found.

    Args:
        kind: "search" (candidates best first) or "front" (cheapest first).
        space: searched.
        asked: budgets, seed, profile and whatever else makes the answer repeatable.
        history: best predicted accuracy after each generation; empty for a front.
        evaluations: accuracies predicted.
        interrupted: stopped by the user before its end.
        candidates: what was found.
    """

    kind: str
    space: Space
    asked: Mapping[str, Any]
    history: Sequence[float]
    evaluations: int
    interrupted: bool
    candidates: Sequence[Candidate]


def save_result(result: SearchRecord, path: Path, *, force: bool = False) -> None:
    """Write a result file, one candidate a line."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "kind": result.kind,
        "space": result.space.id,
        "asked": dict(result.asked),
        "history": list(result.history),
        "evaluations": result.evaluations,
        "interrupted": result.interrupted,
    }
    lines = [_dump({**c.record.to_json(), "measured": c.measured}) for c in result.candidates]
    text = f'{_dump(head)[:-1]}, "candidates": [\n' + ",\n".join(lines) + "\n]}\n"
    write_atomic(path, text.encode(), force=force)


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def load_result(path: Path) -> SearchRecord:
    """Read a result file.

    Raises:
        RecordError: no such file, cut short, or something else; names the key.
        VersionError: written by a newer deploy-nas.
        ArchitectureError: a candidate that is none of its space.
    """
    fields = read_json(path)
    if fields.value.get("format") != FORMAT:
        raise RecordError("is no result of a search or a front", subject=str(path))
    version = fields.integer("version", 1)
    if version > VERSION:
        raise VersionError(
            f"has format version {version}, this deploy-nas reads up to {VERSION}",
            subject=str(path),
            hint="upgrade deploy-nas",
        )
    kind = fields.text("kind")
    if kind not in (SEARCH, FRONT):
        raise RecordError(f"'kind' must be {SEARCH} or {FRONT}, is {kind!r}", subject=str(path))
    return SearchRecord(
        kind=kind,
        space=parse_space(fields),
        asked=_asked(fields.fields("asked")),
        history=tuple(fields.numbers("history")),
        evaluations=fields.integer("evaluations", 0),
        interrupted=fields.boolean("interrupted"),
        candidates=tuple(_candidate(c) for c in fields.objects("candidates")),
    )


def _asked(fields: Fields) -> dict[str, Any]:
    """What was asked; of what is there the types are checked."""
    held = fields.value.keys()
    fields.optional_number("confidence")
    fields.optional_text("predictor")
    if "anchors" in held:
        fields.texts("anchors")
    if "image_sizes" in held:
        fields.integers("image_sizes")
    for key in held & {"bytes_per_element", "seed", "measure_top", "evaluations"}:
        fields.integer(key, 0)
    for key in held & {"profiles", "budgets"}:
        inner = fields.fields(key)
        for name in inner.value:
            inner.text(name) if key == "profiles" else inner.number(name, positive=True)
    if "hyper" in held:
        fields.fields("hyper")
    return fields.value


def _candidate(fields: Fields) -> Candidate:
    measured = fields.fields("measured")
    if measured.value:
        measured.number("latency_ms", positive=True)
    architecture = {k: v for k, v in fields.value.items() if k != "measured"}
    record = parse_architecture(Fields(architecture, fields.where))
    predicted = Fields(record.predicted, f"{fields.where}: predicted")
    predicted.number("latency_ms", positive=True)
    predicted.number("accuracy")
    return Candidate(record=record, measured=measured.value)
