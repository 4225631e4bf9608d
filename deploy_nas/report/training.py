"""The report's section on the training of a supernet: its images, its curve and the subnets judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploy_nas.records.supernet import JudgedSubnet, SupernetRecord, TrainedOn

_PHASES = {
    "largest": "the largest subnet alone",
    "sandwich": "all subnets together",
    "frozen": "weights tuned to the final batch-norm statistics",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A phase of the curve: its description, and the epoch after which it began."""

    what: str
    begins: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingShown:
    """The training of a supernet, as the page shows it.

    Args:
        lead: the images, in a sentence.
        facts: (name, value).
        curve: (epochs, loss, time in words), in order.
        phases: of the curve, in order.
        subnets: measured on the validation images.
    """

    lead: str
    facts: Sequence[tuple[str, str]]
    curve: Sequence[tuple[float, float, str]]
    phases: Sequence[Phase]
    subnets: Sequence[JudgedSubnet]

    @property
    def curve_text(self) -> str:
        """The curve in a sentence, for those who cannot see it."""
        (_, first, _), (epochs, last, _) = self.curve[0], self.curve[-1]
        return f"Loss of the largest subnet: from {first:.3g} to {last:.3g} in {epochs:.3g} epochs"


def training_shown(record: SupernetRecord) -> TrainingShown:
    """A supernet's training, in words and as a curve."""
    return TrainingShown(
        lead=_images_in_words(record.images, len(record.labels)),
        facts=_facts(record),
        curve=[(round(p.epoch, 4), round(p.loss, 5), duration(p.elapsed_s)) for p in record.curve],
        phases=_phases(record),
        subnets=record.subnets,
    )


def _images_in_words(images: TrainedOn, classes: int) -> str:
    judged = f"{images.validation:,} {'held out of them' if images.own_split else 'others'}"
    return f"Trained on {images.training:,} images of {classes} classes, judged on {judged}."


def _facts(record: SupernetRecord) -> list[tuple[str, str]]:
    least, most = min(record.images.counts), max(record.images.counts)
    started = record.started_from
    epochs = sum(recipe.epochs(record.images.training) for recipe in record.recipes)
    return [
        ("supernet", record.space.id),
        ("images per class", f"{least:,}" if least == most else f"{least:,} to {most:,}"),
        ("trained for", f"{epochs:.1f} epochs, {duration(record.training_s)}, on {record.device}"),
        ("started from", f"{started.source} weights" if started.trained else "random weights"),
    ]


def _phases(record: SupernetRecord) -> list[Phase]:
    found: list[Phase] = []
    last, done = None, 0.0
    for point in record.curve:
        if point.phase != last:
            found.append(Phase(what=_PHASES.get(point.phase, point.phase), begins=round(done, 4)))
        last, done = point.phase, point.epoch
    return found


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 05 min``."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
