"""The record of a build for one latency budget: what is done, what was promised, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from deploy_nas.core.fields import Fields, check_format
from deploy_nas.core.measured import Top1
from deploy_nas.records.files import read_json, write_json

FORMAT = "deploy-nas build"
VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """A fine-tuning: top-1 on the validation images before and after, and whether its weights are used."""

    before: Top1
    after: Top1
    kept: bool

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {"before": self.before.to_json(), "after": self.after.to_json(), "kept": self.kept}

    @classmethod
    def from_json(cls, value: Fields) -> Tuned:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            before=Top1.from_json(value.fields("before")),
            after=Top1.from_json(value.fields("after")),
            kept=value.boolean("kept"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltModel:
    """A finished file.

    Args:
        file: its name.
        precision: "fp32" or "int8".
        predicted_ms: its predicted latency; ``None`` for INT8, which the profile does not predict.
        measured_ms: its latency as verified on the device of the profile; ``None``: it was not measured
            there.
        within_budget: whether that keeps the budget; ``None``: unknown.
        speed: of the device then, relative to its speed when profiled; ``None``: unknown.
        validation: top-1 on the validation images.
        test: top-1 on test images; ``None`` without any.
        faults: why the measurement cannot be relied on, a sentence each; empty if it can.
    """

    file: str
    precision: str
    predicted_ms: float | None
    measured_ms: float | None
    within_budget: bool | None
    validation: Top1
    test: Top1 | None = None
    speed: float | None = None
    faults: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {
            "file": self.file,
            "precision": self.precision,
            "predicted_ms": self.predicted_ms,
            "measured_ms": self.measured_ms,
            "within_budget": self.within_budget,
            "validation": self.validation.to_json(),
            "test": None if self.test is None else self.test.to_json(),
            "speed": self.speed,
            "faults": list(self.faults),
        }

    @classmethod
    def from_json(cls, value: Fields) -> BuiltModel:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            file=value.text("file"),
            precision=value.text("precision"),
            predicted_ms=value.optional_number("predicted_ms", positive=True),
            measured_ms=value.optional_number("measured_ms", positive=True),
            within_budget=value.optional_boolean("within_budget"),
            validation=Top1.from_json(value.fields("validation")),
            test=Top1.from_json(value.fields("test")) if value.holds("test") else None,
            speed=value.optional_number("speed", positive=True),
            faults=tuple(value.texts("faults")) if value.holds("faults") else (),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRecord:
    """A build for one budget.

    Args:
        space: id of its space.
        budget_ms: latency budget.
        profile: id of the profile that the search used.
        weights_sha256: of the supernet.
        predictor_sha256: of the accuracy predictor.
        seed: of search and fine-tuning.
        finetune_epochs: of the winner.
        int8: whether INT8 is tried, and how many points of top-1 it may lose; ``None``: it is not tried.
        test: the test images, as they were named.
        promised_percent: top-1 that the search predicted; ``None`` before it ran.
        tuned: of the winner; ``None``: not done, or not asked for.
        models: the finished files, the last of which is to be used; empty until they are verified.
        no_int8: why there is no INT8 file; empty if there is one, or none was tried.
        stages_s: time of each stage, seconds.
    """

    space: str
    budget_ms: float
    profile: str
    weights_sha256: str
    predictor_sha256: str | None
    seed: int
    finetune_epochs: float = 0.0
    int8: float | None = None
    test: str | None = None
    promised_percent: float | None = None
    tuned: Tuned | None = None
    models: tuple[BuiltModel, ...] = ()
    no_int8: str = ""
    stages_s: Mapping[str, float] = field(default_factory=dict)

    def going_on(self, asked: BuildRecord) -> BuildRecord:
        """``asked`` with what is done of it here, as far as the stages were asked for alike."""
        if self._question != asked._question:
            return asked
        done = replace(asked, promised_percent=self.promised_percent, stages_s=self.stages_s)
        if self.finetune_epochs != asked.finetune_epochs:
            return done
        done = replace(done, tuned=self.tuned)
        if (self.int8, self.test) != (asked.int8, asked.test):
            return done
        return replace(done, models=self.models, no_int8=self.no_int8)

    @property
    def _question(self) -> tuple[object, ...]:
        return (
            self.space,
            self.budget_ms,
            self.profile,
            self.weights_sha256,
            self.predictor_sha256,
            self.seed,
        )

    def to_json(self) -> dict[str, object]:
        """The object in the file."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "space": self.space,
            "budget_ms": self.budget_ms,
            "profile": self.profile,
            "weights_sha256": self.weights_sha256,
            "predictor_sha256": self.predictor_sha256,
            "seed": self.seed,
            "finetune_epochs": self.finetune_epochs,
            "int8": self.int8,
            "test": self.test,
            "promised_percent": self.promised_percent,
            "tuned": None if self.tuned is None else self.tuned.to_json(),
            "models": [model.to_json() for model in self.models],
            "no_int8": self.no_int8,
            "stages_s": dict(self.stages_s),
        }


def save_build(record: BuildRecord, path: Path) -> None:
    """Write a record; raises :class:`OutputError`."""
    write_json(path, record.to_json(), force=True)


def load_build(path: Path) -> BuildRecord:
    """Read a record; raises :class:`RecordError` or :class:`VersionError`."""
    value = read_json(path)
    check_format(value, FORMAT, VERSION)
    return BuildRecord(
        space=value.text("space"),
        budget_ms=value.number("budget_ms", positive=True),
        profile=value.text("profile"),
        weights_sha256=value.text("weights_sha256"),
        predictor_sha256=value.optional_text("predictor_sha256"),
        seed=value.integer("seed", 0),
        finetune_epochs=value.number("finetune_epochs"),
        int8=value.optional_number("int8"),
        test=value.optional_text("test"),
        promised_percent=value.optional_number("promised_percent"),
        tuned=Tuned.from_json(value.fields("tuned")) if value.holds("tuned") else None,
        models=tuple(BuiltModel.from_json(model) for model in value.objects("models")),
        no_int8=value.text("no_int8"),
        stages_s=value.number_map("stages_s"),
    )
