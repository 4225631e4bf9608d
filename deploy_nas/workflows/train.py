"""Train a supernet on your images: from pretrained weights to a folder that ``--space`` takes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from deploy_nas.accuracy.fit import FitSettings
from deploy_nas.adapters.images import ReadingReport, near_duplicates
from deploy_nas.adapters.pools import check_cluster
from deploy_nas.core.errors import ImagesError, MismatchError, OptionError, OutputError
from deploy_nas.core.own_classes import with_classes
from deploy_nas.core.seals import check_seal, sealed
from deploy_nas.core.shown import Shown
from deploy_nas.core.space import Space
from deploy_nas.core.spaces import get_space
from deploy_nas.core.version import __version__
from deploy_nas.deploy.weights import RANDOM_WEIGHTS, trained_on, transferred_supernet
from deploy_nas.device.memory import available_bytes
from deploy_nas.records.files import make_folder, read_json, write_atomic, write_json
from deploy_nas.records.model import Provenance
from deploy_nas.records.supernet import (
    PREDICTOR,
    RECORD,
    SUBNETS,
    WEIGHTS,
    WORK,
    SupernetRecord,
    TrainedOn,
    is_supernet,
    load_supernet_record,
    save_supernet,
)
from deploy_nas.training.loop import Trainer, usable_device
from deploy_nas.training.needs import check_memory, training_bytes
from deploy_nas.training.plans import Plan, augmentation_for, balance_for, fine_tuning
from deploy_nas.training.progress import Step
from deploy_nas.training.ranks import ALONE, Ranks, joined
from deploy_nas.workflows.stages import Log, Progress, Stages, check_images, elastic
from deploy_nas.workflows.subnet_accuracy import (
    PredictorMade,
    PredictorSettings,
    fit_predictor,
    judge,
    predictor_rounds,
)
from deploy_nas.workflows.training_images import TrainingImages, image_sizes_for, look_at, read_images

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
DEFAULT_EPOCHS = 10.0
# Fewer architectures for the perceptron to learn from than by default: its teacher, fitted to labels from a
# few hundred images, is uncertain by points, not by hundredths.
OWN_IMAGES_FIT = FitSettings(taught=24_000)
_SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainRequest:
    """A training to do.

    Args:
        images: folder or zip of class folders.
        output: folder for the supernet; one with an unfinished training goes on with it.
        space: id of the space to start from; its classes become those of the images.
        validation: images to judge by; taken out of ``images`` unless given.
        weights: "pretrained", "embedded", "random", a checkpoint or the folder of a supernet; ``None``: the
            space's own.
        image_sizes: some of the space's; those it profiles by default, up to the size of the images, unless
            given.
        epochs: how often each image is seen; ``minutes``: time for the training instead.
        batch_size: images per step.
        flip: whether images may be mirrored.
        device: "cpu", "cuda" or "mps"; ``None``: a CUDA device if there is one.
        subnets: to measure for the accuracy predictor, in rounds (:func:`predictor_rounds`); 0: none is made.
        fit: of the accuracy predictor.
        workers: processes that measure them; ``None``: one per core.
        cluster: whose nodes measure them instead: "auto" or HOST:PORT.
        seed: of everything random.
        force: replace a finished supernet of another request.
    """

    images: Path
    output: Path
    space: str
    validation: Path | None = None
    weights: str | None = None
    image_sizes: Sequence[int] | None = None
    epochs: float | None = None
    minutes: float | None = None
    batch_size: int = 32
    flip: bool = True
    device: str | None = None
    subnets: int = 160
    fit: FitSettings = OWN_IMAGES_FIT
    workers: int | None = None
    cluster: str | None = None
    seed: int = 0
    force: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Trained(Shown):
    """The outcome.

    Args:
        folder: of the supernet.
        record: of the supernet.
        images: that it was trained and judged on.
        predictor: figures of the accuracy predictor; ``None``: none was made.
        readings: how the images were read.
    """

    folder: Path
    record: SupernetRecord
    images: TrainingImages
    predictor: PredictorMade | None
    readings: tuple[ReadingReport, ...]

    def _summary(self) -> str:
        return f"{self.folder}, {self.record._summary()}"


def predictor_settings(request: TrainRequest) -> PredictorSettings:
    """How the predictor of a training is made: images that must not be mirrored are not, there either."""
    rounds = predictor_rounds(request.subnets)
    return PredictorSettings(
        subnets=request.subnets - sum(rounds),
        best=rounds,
        seed=request.seed,
        workers=request.workers,
        cluster=request.cluster,
        fit=request.fit,
        mirrored=request.flip,
    )


def train(request: TrainRequest, log: Log | None = None, progress: Progress | None = None) -> Trained:
    """Train a supernet, or go on with a training that was stopped; then measure and fit its predictor.

    Args:
        request: what to train.
        log: called with a line for each thing to know.
        progress: called as it goes on.

    Raises:
        ImagesError: no images, fewer than two classes, or a class that cannot be trained on.
        OptionError: an option out of range, or too little memory.
        MismatchError: the folder holds another training.
        OutputError: the folder cannot be written, or holds a finished supernet of another request.
        WeightsError, UnknownSpaceError: of the space to start from.
    """
    log = log or (lambda line: None)
    check_training(request)
    with joined(usable_device(request.device)) as ranks:
        space, images = _trained(request, log if ranks.first else lambda line: None, progress, ranks)
    record, made = load_supernet_record(request.output), None
    if request.subnets:
        settings = predictor_settings(request)
        made = fit_predictor(space, images, request.output, settings, log=log, progress=progress)
        record = load_supernet_record(request.output)
    readings = [images.training.report]
    if not images.own_split:
        readings.append(images.validation.first.report)
    return Trained(
        folder=request.output, record=record, images=images, predictor=made, readings=tuple(readings)
    )


def _trained(
    request: TrainRequest, log: Log, progress: Progress | None, ranks: Ranks
) -> tuple[Space, TrainingImages]:
    """Train the supernet and write its folder; in other processes than the first this is the end."""

    def read() -> tuple[Space, TrainingImages]:
        if ranks.first:
            make_folder(request.output)
        space = space_for(request)
        return space, read_images(request.images, space, request.validation)

    space, images = ranks.alike(read)
    ranks.agree("versions of deploy-nas", __version__)
    ranks.agree("images", images.training.digest)
    log(
        f"{space.id}: {len(images.training)} images to train on, {len(images.validation)} to judge by, "
        f"{space.classes} classes of {min(images.counts)} to {max(images.counts)} images"
    )
    _say_duplicates(images, log)
    if known := trained_on(space, request.weights):
        log(
            f"the weights to start from have seen {known}: for images to judge by that come from there, the "
            "accuracies measured are too good"
        )
    if not ranks.alone:
        each = request.batch_size // ranks.size
        log(f"{ranks.size} processes train together, each on {each} images of a batch")
    plan = _plan(request, space, images, log, ranks)
    if request.device in (None, "cpu"):
        needed = training_bytes(space, request.batch_size // ranks.size)
        ranks.alike(lambda: check_memory(needed, available_bytes(), request.batch_size))
        log(f"training takes about {needed / 1e9:.1f} GB of memory beside the images")
    train_on(
        space,
        images,
        request.output,
        plan,
        weights=request.weights,
        device=request.device,
        force=request.force,
        log=log,
        progress=progress,
        ranks=ranks,
    )
    return space, images


def space_for(request: TrainRequest) -> Space:
    """The space of a request: the classes of its images, at its image sizes.

    Raises:
        ImagesError, UnknownSpaceError: see :func:`train`.
    """
    if is_supernet(request.space):
        raise OptionError(
            f"{request.space} is the folder of a trained supernet",
            subject="space",
            hint="name it as `weights`",
        )
    base = get_space(request.space)
    found = look_at(request.images)
    if base.base is None:
        sizes = request.image_sizes or image_sizes_for(base, found.median_side)
        return with_classes(base, len(found.classes), sizes)
    if base.classes != len(found.classes):
        raise ImagesError(
            f"{len(found.classes)} class folders, {base.id} has {base.classes} classes",
            subject=str(request.images),
            hint=f"name {base.base.id}, which takes any number",
        )
    return base if request.image_sizes is None else with_classes(base.base, base.classes, request.image_sizes)


def _say_duplicates(images: TrainingImages, log: Log) -> None:
    """Name images that are both trained on and judged by: accuracies of those are too good."""
    found = near_duplicates(images.training, images.validation.first)
    if found:
        shown = "; ".join(f"{one} and {other}" for one, other in found[:_SHOWN])
        log(
            f"note: {len(found)} of the images to judge by look like one to train on ({shown}"
            f"{'; ...' if len(found) > _SHOWN else ''}): the accuracies measured are too good"
        )


def check_training(request: TrainRequest) -> None:
    """Raise :class:`OptionError` for an option out of range, before anything is read."""
    if request.epochs is not None and request.minutes is not None:
        raise OptionError("or a number of epochs, not both", subject="minutes")
    if request.minutes is not None and not 0 < request.minutes < 1e5:
        raise OptionError(f"must be above 0, is {request.minutes}", subject="minutes")
    if request.subnets and request.subnets < 30:
        raise OptionError(f"must be 0 or at least 30, is {request.subnets}", subject="subnets")
    if request.cluster is not None:
        check_cluster(request.cluster)
    usable_device(request.device)


# -- the plan --------------------------------------------------------------------------------------


def _plan(request: TrainRequest, space: Space, images: TrainingImages, log: Log, ranks: Ranks) -> Plan:
    """The plan of a request. With ``minutes`` it depends on the machine, so a run that goes on keeps it."""

    def plan(epochs: float) -> Plan:
        return fine_tuning(
            images=len(images.training),
            epochs=epochs,
            batch_size=request.batch_size,
            augmentation=augmentation_for(max(space.image_sizes), flip=request.flip),
            balance=balance_for(images.counts),
            seed=request.seed,
        )

    if request.minutes is None:
        return plan(DEFAULT_EPOCHS if request.epochs is None else request.epochs)
    asked = {
        "minutes": request.minutes,
        "images": images.training.digest,
        "space": space.id,
        "weights": request.weights,
        "batch_size": request.batch_size,
        "device": request.device,
        "seed": request.seed,
    }
    name = hashlib.sha256(repr(asked).encode()).hexdigest()[:12]
    kept = request.output / WORK / f"epochs-{name}.json"

    def held() -> float | None:
        if not kept.is_file():
            return None
        fields = read_json(kept)
        check_seal(fields, hint="remove it to time the training again")
        return fields.number("epochs", positive=True)

    if (epochs := ranks.told(held)) is not None:
        return plan(epochs)
    one, total_s = plan(1.0), 60.0 * request.minutes
    seconds = _step_s(request, space, images, one, ranks)

    def chosen() -> float:
        epochs = epochs_within(total_s, one, len(images.training), seconds)
        log(f"{epochs:.1f} epochs fit into {request.minutes:g} minutes")
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, sealed({**asked, "epochs": epochs}), force=True)
        return epochs

    return plan(ranks.told(chosen))


def epochs_within(total_s: float, one: Plan, images: int, step_s: Mapping[str, float]) -> float:
    """Epochs that take this time, by the time of a step in each phase; at least 0.1.

    Args:
        total_s: time for all phases, seconds.
        one: the plan of one epoch.
        images: number of images to train on.
        step_s: as ``Trainer.measure_steps`` gives it.
    """
    recipe = one.stretches[0]
    steps = np.ceil(images / recipe.batch_size)
    fixed_s = recipe.frozen_steps * step_s["frozen"]
    fixed_s += recipe.statistics_batches * step_s["frozen"] / 4  # forward passes of one subnet
    epoch_s = steps * (
        recipe.largest_epochs * step_s["largest"] + recipe.sandwich_epochs * step_s["sandwich"]
    )
    return round(float(max(0.1, (total_s - fixed_s) / epoch_s)), 2)


def _step_s(
    request: TrainRequest, space: Space, images: TrainingImages, plan: Plan, ranks: Ranks
) -> dict[str, float]:
    """Time of a step in each phase on this machine, seconds."""
    net, _ = _begun(space, request.weights, request.seed, ranks)
    trainer = Trainer(
        elastic(space, net),
        images.training.images,
        images.training.labels,
        mean=space.mean,
        std=space.std,
        recipe=plan.stretches[0],
        checkpoint=request.output / WORK / "none.pt",
        origin="",
        log=lambda line: None,
        device=request.device,
        ranks=ranks,
    )
    return trainer.measure_steps()


def _begun(space: Space, weights: str | None, seed: int, ranks: Ranks) -> tuple[nn.Module, Provenance]:
    """The net to train; in other processes than the first, which share the first's weights, with any."""
    return ranks.alike(
        lambda: transferred_supernet(space, weights if ranks.first else RANDOM_WEIGHTS, seed=seed)
    )


# -- training --------------------------------------------------------------------------------------


def train_on(
    space: Space,
    images: TrainingImages,
    folder: Path,
    plan: Plan,
    *,
    weights: str | None = None,
    device: str | None = None,
    force: bool = False,
    log: Log | None = None,
    progress: Progress | None = None,
    ranks: Ranks = ALONE,
) -> SupernetRecord:
    """Train a space's supernet by a plan, and write it with its record into a folder.

    What ``folder/work`` holds of this training is not trained again. With ``force``, what the folder holds of
    another training is removed, once this one can begin. Of processes that train together, only the first
    returns.

    Raises:
        MismatchError: the folder holds another training.
        RecordError: a file there is damaged.
        ImagesError: images of another number of classes, or not square.
        OutputError: the folder cannot be written, or holds a supernet of another training.
    """
    log, said = log or (lambda line: None), progress or (lambda *_: None)
    check_images(space, images.training)
    net, started_from = _begun(space, weights, plan.stretches[0].seed, ranks)

    def held() -> SupernetRecord | None:
        if not is_supernet(folder):
            return None
        found = load_supernet_record(folder)
        if _same_training(found, space, images, plan, started_from):
            log("this supernet is trained already")
            return found
        if not force:
            raise OutputError(
                "holds a supernet of another training",
                subject=str(folder),
                hint="name another `output`, or use `force` to replace it",
            )
        _cleared(folder)
        return None

    if (found := ranks.told(held)) is not None:
        return _of_first(found, ranks)

    def on_step(step: Step) -> None:
        said(f"training: {step.phase}", step.done, step.total, step.remaining_s)

    work = folder / WORK
    stages = Stages(space, images.training, work, device=device, log=log, on_step=on_step, ranks=ranks)
    try:
        done = stages.run(plan, net, started_from)
    except MismatchError:
        if not force:
            raise
        ranks.told(lambda: _cleared(folder))
        net, started_from = _begun(space, weights, plan.stretches[0].seed, ranks)
        done = stages.run(plan, net, started_from)
    _of_first(done, ranks)
    data = done.weights.read_bytes()
    write_atomic(folder / WEIGHTS, data, force=True)
    record = SupernetRecord(
        space=space,
        labels=images.training.classes,
        weights_sha256=hashlib.sha256(data).hexdigest(),
        started_from=done.started_from,
        images=TrainedOn(
            training=len(images.training),
            validation=len(images.validation),
            counts=images.counts,
            digest=images.training.digest,
            validation_digest=images.validation.digest,
            own_split=images.own_split,
        ),
        recipes=plan.stretches,
        device=done.stages[-1].device,
        training_s=done.training_s,
        curve=done.curve,
        subnets=judge(space, folder / WEIGHTS, images.validation, progress),
    )
    save_supernet(record, folder)
    return record


def _of_first(value: T, ranks: Ranks) -> T:
    """The value in the first process, which goes on alone; the others have done their part, and end."""
    if not ranks.first:
        raise SystemExit(0)
    return value


def _same_training(
    held: SupernetRecord, space: Space, images: TrainingImages, plan: Plan, started_from: Provenance
) -> bool:
    """Whether a finished supernet is what this training would make."""
    then = (held.space.id, held.recipes, held.images.digest, held.images.validation_digest)
    now = (space.id, plan.stretches, images.training.digest, images.validation.digest)
    return then == now and held.started_from.sha256 == started_from.sha256


def _cleared(folder: Path) -> None:
    """Remove a supernet that is to be replaced; files of others stay."""
    for name in (RECORD, WEIGHTS, PREDICTOR, SUBNETS):
        (folder / name).unlink(missing_ok=True)
    for stage in (folder / WORK).glob("*/"):  # the epochs chosen for a time stay
        shutil.rmtree(stage, ignore_errors=True)
