"""The stages of a training plan: a teacher, then stretches, each kept in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_nas.adapters import supernets
from deploy_nas.adapters.images import ImageSet
from deploy_nas.core.errors import ImagesError, MismatchError, RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.recipe import Recipe
from deploy_nas.core.seals import check_seal, sealed
from deploy_nas.core.space import Space
from deploy_nas.records.files import read_json, write_json
from deploy_nas.records.model import Provenance
from deploy_nas.records.supernet import LossPoint
from deploy_nas.training.loop import Trainer
from deploy_nas.training.passes import Elastic
from deploy_nas.training.plans import Plan
from deploy_nas.training.progress import Step
from deploy_nas.training.ranks import ALONE, Ranks
from deploy_nas.training.teacher import teacher_net

if TYPE_CHECKING:
    from torch import nn

_WEIGHTS, _RECORD, _CHECKPOINT = "weights.safetensors", "stretch.json", "checkpoint.pt"

Log = Callable[[str], None]
Progress = Callable[[str, int, int, float | None], None]
"""Called with what is done, how many of how many, and the estimated seconds left; ``None``: unknown."""
Origin = Mapping[str, str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A finished stage.

    Args:
        recipe: it was trained by.
        device: it was trained on.
        training_s: time it took, seconds.
        curve: of its training.
    """

    recipe: Recipe
    device: str
    training_s: float
    curve: tuple[LossPoint, ...]

    @classmethod
    def from_json(cls, value: Fields) -> Stage:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            recipe=Recipe.from_json(value.fields("recipe")),
            device=value.text("device"),
            training_s=value.number("training_s"),
            curve=tuple(LossPoint.from_json(point) for point in value.objects("curve")),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretches:
    """The outcome of a plan: the last weights, what the first began with, and every stage in order."""

    weights: Path
    started_from: Provenance
    stages: tuple[Stage, ...]

    @property
    def training_s(self) -> float:
        """Time of all stages, seconds."""
        return sum(stage.training_s for stage in self.stages)

    @property
    def curve(self) -> tuple[LossPoint, ...]:
        """The curve of the supernet's last joint training: of the stretch with the most points."""
        return max((stage.curve for stage in self.stages), key=len)


def check_images(space: Space, images: ImageSet) -> None:
    """Raise :class:`ImagesError` unless these are square images of the space's number of classes."""
    if len(images.classes) != space.classes:
        raise ImagesError(
            f"{len(images.classes)} class folders, {space.id} has {space.classes} classes",
            subject=images.source,
        )
    height, width = images.images.shape[2:]
    if height != width:
        raise ImagesError(f"are {width}x{height} pixels, but must be square", subject=images.source)


def elastic(space: Space, net: nn.Module) -> Elastic:
    """A supernet for the trainer; ofa's activations are replaced by torch's faster ones."""
    supernets.use_torch_activations(net)
    return Elastic(
        net=net,
        activate=lambda architecture: supernets.activate(net, architecture),
        sample=space.sample,
        smallest=space.smallest(),
        largest=space.largest(),
        image_sizes=space.image_sizes,
        masked=supernets.Masked(net, space.largest()) if supernets.Masked.fits(net) else None,
    )


def teacher_of(space: Space, seed: int) -> Elastic:
    """The teacher with random weights, as a net with a single subnet."""
    only = {"image_size": max(space.image_sizes)}
    return Elastic.of_one(teacher_net(space.classes, seed=seed), only)


def load_teacher(space: Space, path: Path) -> nn.Module:
    """The teacher with the weights of a file; raises :class:`WeightsError`."""
    net = teacher_of(space, 0).net
    supernets.load_weights(net, space, path)
    return net


def origin(
    training: ImageSet, start: Path | None = None, teacher: Path | None = None
) -> dict[str, str | None]:
    """The starting point of a training, as its record and its checkpoint keep it."""
    return {
        "started_from_sha256": supernets.weights_hash(start) if start is not None else None,
        "taught_by_sha256": supernets.weights_hash(teacher) if teacher is not None else None,
        "training_images": training.digest,
    }


class Stages:
    """Runs plans; a stage with weights and a record of this run in ``work`` is not trained again.

    Args:
        space: of the supernet.
        training: the images, square, at least as large as the largest image size.
        work: folder of the stages.
        device: as of ``Trainer``.
        log, on_step, ranks: as of ``Trainer``; only the first process reads and writes in ``work``.

    Raises:
        MismatchError: ``work`` holds a run of another recipe, or of other weights or images.
        RecordError: a file there is damaged or edited.
    """

    def __init__(
        self,
        space: Space,
        training: ImageSet,
        work: Path,
        *,
        device: str | None = None,
        log: Log,
        on_step: Callable[[Step], None] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.space, self.training, self.work, self.ranks = space, training, work, ranks
        self.device, self.log, self.on_step = device, log, on_step

    def run(self, plan: Plan, net: nn.Module, started_from: Provenance) -> Stretches:
        """Train by a plan, from a net as :func:`~deploy_nas.deploy.weights.transferred_supernet` gives it."""
        stages: list[Stage] = []
        teacher = None
        if plan.teacher is not None:
            recipe = plan.teacher
            self.log("teacher")
            teacher = self.work / "teacher" / _WEIGHTS
            stages.append(
                self._stage(
                    teacher.parent,
                    recipe,
                    lambda: origin(self.training),
                    lambda: teacher_of(self.space, recipe.seed),
                    plan.half,
                )
            )
        start: Path | None = None
        for number, recipe in enumerate(plan.stretches, 1):
            if len(plan.stretches) > 1:
                self.log(f"stretch {number} of {len(plan.stretches)}")
            folder = self.work / f"stretch-{number}"

            def begin(start: Path | None = start) -> Origin:
                begun = origin(self.training, start, teacher)
                return begun if start is not None else {**begun, "started_from_sha256": started_from.sha256}

            stages.append(self._stage(folder, recipe, begin, self._net(start, net), plan.half, teacher))
            start = folder / _WEIGHTS
        assert start is not None  # noqa: S101 - a plan has at least one stretch
        return Stretches(weights=start, started_from=started_from, stages=tuple(stages))

    def _net(self, start: Path | None, net: nn.Module) -> Callable[[], Elastic]:
        def build() -> Elastic:
            if start is not None and self.ranks.first:
                supernets.load_weights(net, self.space, start)
            return elastic(self.space, net)

        return build

    def _stage(
        self,
        folder: Path,
        recipe: Recipe,
        begin: Callable[[], Origin],
        build: Callable[[], Elastic],
        half: bool,
        teacher: Path | None = None,
    ) -> Stage:
        """A stage, which is first trained from its checkpoint if it is not finished."""
        weights, record = folder / _WEIGHTS, folder / _RECORD

        def looked() -> tuple[Origin, bool]:
            folder.mkdir(parents=True, exist_ok=True)
            begun = begin()
            return begun, weights.exists() and _finished(record, recipe, begun)

        begun, finished = self.ranks.told(looked)
        if not finished:
            trainer = Trainer(
                build(),
                self.training.images,
                self.training.labels,
                mean=self.space.mean,
                std=self.space.std,
                recipe=recipe,
                checkpoint=folder / _CHECKPOINT,
                origin=json.dumps(begun),
                log=self.log,
                on_step=self.on_step,
                teacher=self._teacher(teacher) if teacher is not None else None,
                device=self.device,
                ranks=self.ranks,
            )
            trainer.run()
            self.ranks.told(lambda: self._written(trainer, weights, record, begun, half=half))
        return self.ranks.told(lambda: Stage.from_json(_read(record)))

    def _teacher(self, path: Path) -> nn.Module:
        """The teacher; in other processes than the first, which share the first's weights, with any."""
        return load_teacher(self.space, path) if self.ranks.first else teacher_of(self.space, 0).net

    def _written(self, trainer: Trainer, weights: Path, record: Path, begun: Origin, *, half: bool) -> None:
        """Write a stage that is done: its weights, then its record."""
        supernets.save_weights(trainer.net.cpu(), weights, half=half, force=True)
        steps = -(-len(self.training) // trainer.recipe.batch_size)
        facts: dict[str, object] = {
            **begun,
            "recipe": trainer.recipe.to_json(),
            "steps": trainer.phase_steps,
            "device": trainer.device_name,
            "training_s": round(trainer.elapsed_s),
            "curve": [
                {
                    "epoch": round(point.step / steps, 3),
                    "phase": point.phase,
                    "loss": round(point.loss, 4),
                    "elapsed_s": round(point.elapsed_s, 1),
                }
                for point in trainer.curve
            ],
        }
        write_json(record, sealed(facts), force=True)


def _read(record: Path) -> Fields:
    """The record of a stage.

    Raises:
        RecordError: it was edited. A :class:`MismatchError` would say that it is of another run, which
            ``force`` removes.
    """
    facts, again = read_json(record), "remove that folder to train the stage again"
    try:
        check_seal(facts, hint=again)
    except MismatchError as error:
        raise RecordError(error.message, subject=error.subject, hint=again) from error
    return facts


def _finished(record: Path, recipe: Recipe, begun: Origin) -> bool:
    """True if the record is of this recipe.

    Raises:
        MismatchError: it started from something else, and so belongs to another run.
    """
    if not record.exists():
        return False
    facts = _read(record)
    if any(facts.value.get(key) != value for key, value in begun.items()):
        raise MismatchError(
            "was started with other weights or images, or another teacher",
            subject=str(record),
            hint="remove that folder, or name another work folder",
        )
    return Recipe.from_json(facts.fields("recipe")) == recipe
