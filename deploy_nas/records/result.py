"""Result files: the question of a search or a front, and all that was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deploy_nas.core.errors import DeployNASError, RecordError, VersionError
from deploy_nas.core.fields import Fields
from deploy_nas.core.reader import json_text
from deploy_nas.core.seals import DIGEST, check_format_sealed, digest_of
from deploy_nas.core.shown import Shown
from deploy_nas.core.space import Space
from deploy_nas.records.architecture import ArchitectureRecord, parse_architecture, parse_space
from deploy_nas.records.files import read_json, write_atomic

FORMAT = "deploy-nas search result"
VERSION = 2
_SEALED_SINCE = 2
SEARCH, FRONT = "search", "front"


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """Latency of one candidate in the measured finish, ms; ``within_budget`` is true if it met its budget.

    ``faults`` are of the machine then, a sentence each.
    """

    latency_ms: float
    within_budget: bool
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    faults: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        value = asdict(self) | {"faults": list(self.faults) or None}
        return {key: held for key, held in value.items() if held is not None}

    @classmethod
    def from_json(cls, fields: Fields) -> Timed:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            latency_ms=fields.number("latency_ms", positive=True),
            within_budget=fields.boolean("within_budget"),
            p50_ms=fields.optional_number("p50_ms", positive=True),
            p90_ms=fields.optional_number("p90_ms", positive=True),
            p99_ms=fields.optional_number("p99_ms", positive=True),
            faults=tuple(fields.texts("faults")) if fields.holds("faults") else (),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One architecture that was found; ``measured`` if it was timed."""

    record: ArchitectureRecord
    measured: Timed | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The question that a search or a front answered; with it the answer can be repeated.

    Args:
        profiles: id of each device's profile by the name of its latency.
        budgets: upper bounds by figure.
        confidence: of the latency bounds; ``None``: the prediction itself was used.
        margin: for a slower device, "slowest-seen" or a number of percent; ``None``: none was asked for.
        predictor: accuracy predictor as it was named; ``None``: the space's own.
        anchors: as they were named.
        image_sizes: searched; ``None`` if the file does not name them.
        bytes_per_element: of activations, for peak memory.
        hyper: hyper-parameters of a search by name.
        seed: of the run.
        measure_top: candidates that were to be timed.
        evaluations: accuracies that a front was to predict; ``None`` for a search.
    """

    profiles: Mapping[str, str] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=dict)
    confidence: float | None = None
    margin: str | None = None
    predictor: str | None = None
    anchors: tuple[str, ...] = ()
    image_sizes: tuple[int, ...] | None = None
    bytes_per_element: int = 1
    hyper: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    measure_top: int = 0
    evaluations: int | None = None

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        value: dict[str, object] = {
            "profiles": dict(self.profiles),
            "budgets": dict(self.budgets),
            "confidence": self.confidence,
            "predictor": self.predictor,
            "anchors": list(self.anchors),
            "bytes_per_element": self.bytes_per_element,
            "seed": self.seed,
            **({} if self.margin is None else {"margin": self.margin}),
        }
        if self.image_sizes is not None:
            value["image_sizes"] = list(self.image_sizes)
        if self.evaluations is None:
            return value | {"hyper": dict(self.hyper), "measure_top": self.measure_top}
        return value | {"evaluations": self.evaluations}

    @classmethod
    def from_json(cls, fields: Fields) -> Asked:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            profiles=fields.text_map("profiles") if fields.holds("profiles") else {},
            budgets=fields.number_map("budgets", positive=True) if fields.holds("budgets") else {},
            confidence=fields.optional_number("confidence"),
            margin=fields.optional_text("margin"),
            predictor=fields.optional_text("predictor"),
            anchors=tuple(fields.texts("anchors")) if fields.holds("anchors") else (),
            image_sizes=tuple(fields.integers("image_sizes")) if fields.holds("image_sizes") else None,
            bytes_per_element=fields.optional_integer("bytes_per_element", 1) or 1,
            hyper=fields.number_map("hyper") if fields.holds("hyper") else {},
            seed=fields.optional_integer("seed", 0) or 0,
            measure_top=fields.optional_integer("measure_top", 0) or 0,
            evaluations=fields.optional_integer("evaluations", 0),
        )


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SearchRecord(Shown):
    """A question and its answer.

    Args:
        kind: "search" (candidates best first) or "front" (cheapest first).
        space: searched.
        asked: the question.
        history: best predicted accuracy after each generation; empty for a front.
        evaluations: accuracies predicted.
        interrupted: true if the user stopped the run.
        candidates: the architectures that were found.
        sealed: false for a file whose numbers cannot be checked: an older one, or one that was edited.
    """

    kind: str
    space: Space
    asked: Asked
    history: Sequence[float]
    evaluations: int
    interrupted: bool
    candidates: Sequence[Candidate]
    sealed: bool = True

    def _summary(self) -> str:
        return f"{self.kind} of {self.space.id}, {len(self.candidates)} kept of {self.evaluations} evaluated"

    @property
    def timed(self) -> list[tuple[ArchitectureRecord, Timed]]:
        """The candidates that were timed."""
        return [(c.record, c.measured) for c in self.candidates if c.measured is not None]


def save_result(result: SearchRecord, path: Path, *, force: bool = False) -> None:
    """Write a result file, one candidate per line."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "kind": result.kind,
        "space": result.space.id,
        "asked": result.asked.to_json(),
        "history": list(result.history),
        "evaluations": result.evaluations,
        "interrupted": result.interrupted,
    }
    candidates = [
        {**c.record.to_json(), "measured": {} if c.measured is None else c.measured.to_json()}
        for c in result.candidates
    ]
    digest = digest_of({**head, "candidates": candidates})
    lines = ",\n".join(map(json_text, candidates))
    text = f'{json_text(head)[:-1]}, "candidates": [\n{lines}\n], "{DIGEST}": "{digest}"}}\n'
    write_atomic(path, text.encode(), force=force)


def load_result(path: Path) -> SearchRecord:
    """Read a result file.

    Raises:
        RecordError: missing, cut short, or another kind of file; names the key.
        VersionError: written by a newer deploy-nas.
        MismatchError: it was edited since it was written.
        ArchitectureError: a candidate that does not belong to its space.
    """
    fields = read_json(path)
    if fields.value.get("format") != FORMAT:
        raise RecordError("is not a result file of search or pareto", subject=str(path))
    version = fields.integer("version", 1)
    if version > VERSION:
        raise VersionError(
            f"has format version {version}, this deploy-nas reads up to {VERSION}",
            subject=str(path),
            hint="upgrade deploy-nas",
        )
    held = check_format_sealed(fields, sealed_since=_SEALED_SINCE)
    kind = fields.text("kind")
    if kind not in (SEARCH, FRONT):
        raise RecordError(f"'kind' must be {SEARCH} or {FRONT}, is {kind!r}", subject=str(path))
    return SearchRecord(
        kind=kind,
        space=parse_space(fields),
        asked=Asked.from_json(fields.fields("asked")),
        history=tuple(fields.numbers("history")),
        evaluations=fields.integer("evaluations", 0),
        interrupted=fields.boolean("interrupted"),
        candidates=tuple(_candidate(c) for c in fields.objects("candidates")),
        sealed=held,
    )


def answer_to(asked: Asked, kind: str, path: Path) -> SearchRecord | None:
    """The result in a file if it answers this very question; ``None`` for any other file."""
    try:
        held = load_result(path)
    except DeployNASError:
        return None
    return held if held.kind == kind and held.asked.to_json() == asked.to_json() else None


def _candidate(fields: Fields) -> Candidate:
    measured = fields.fields("measured")
    architecture = {k: v for k, v in fields.value.items() if k != "measured"}
    record = parse_architecture(Fields(architecture, fields.where))
    where = f"{fields.where}: predicted"
    for key, held in (("latency_ms", record.predicted.latency_ms), ("accuracy", record.predicted.accuracy)):
        if held is None:
            raise RecordError(f"lacks {key!r}", subject=where)
    return Candidate(record=record, measured=Timed.from_json(measured) if measured.value else None)
