"""Fine-tune one subnet of a trained supernet: alone, taught by the largest, kept only if it became better."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_nas.accuracy.evaluate import SubnetEvaluator
from deploy_nas.adapters import supernets
from deploy_nas.core.errors import MismatchError
from deploy_nas.core.measured import Top1
from deploy_nas.core.shown import Shown
from deploy_nas.core.space import Architecture, Space
from deploy_nas.deploy.weights import load_supernet, save_tuned
from deploy_nas.records.files import check_output, make_folder
from deploy_nas.records.supernet import WORK, load_supernet_record, of_same_id
from deploy_nas.training.launch import is_first
from deploy_nas.training.loop import Trainer
from deploy_nas.training.passes import Elastic
from deploy_nas.training.plans import augmentation_for, balance_for, tuning
from deploy_nas.training.progress import Step
from deploy_nas.workflows.given import GivenArchitecture, architecture_given
from deploy_nas.workflows.stages import Log, Progress
from deploy_nas.workflows.training_images import TrainingImages, read_images

if TYPE_CHECKING:
    from torch import nn

DEFAULT_EPOCHS = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneRequest:
    """A fine-tuning to do.

    Args:
        architecture: file of the subnet.
        space: folder of its supernet.
        images, validation: those that the supernet was trained on.
        output: file for the weights.
        epochs: how often each image is seen.
        batch_size: images per step.
        flip: whether images may be mirrored.
        device: as in training.
        seed: of everything random.
        force: replace the output.
    """

    architecture: GivenArchitecture
    space: Path
    images: Path
    output: Path
    validation: Path | None = None
    epochs: float = DEFAULT_EPOCHS
    batch_size: int = 32
    flip: bool = True
    device: str | None = None
    seed: int = 0
    force: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Finetuned(Shown):
    """The outcome.

    Args:
        before, after: top-1 on the validation images.
        training_s: time it took, seconds.
        weights: the file; ``None``: it did not become better, and nothing was written.
    """

    before: Top1
    after: Top1
    training_s: float
    weights: Path | None

    def _summary(self) -> str:
        kept = "not better, nothing written" if self.weights is None else str(self.weights)
        return f"top-1 {self.before.percent:.2f}% to {self.after.percent:.2f}%, {kept}"


def finetune(request: FinetuneRequest, log: Log | None = None, progress: Progress | None = None) -> Finetuned:
    """Fine-tune one subnet; its weights are written only if top-1 on the validation images rose.

    A run that was stopped goes on.

    Raises:
        MismatchError: a subnet of another space, or images that the supernet was not trained on.
        ImagesError, OptionError, RecordError, OutputError: unusable input.
    """
    if not is_first():
        raise SystemExit(0)  # a subnet is small: the first of several processes tunes it alone
    check_output(request.output, force=request.force)
    record = architecture_given(request.architecture)
    space = of_same_id(str(request.space), record.space)
    images = read_images(request.images, record.space, request.validation)
    check_same_images(request.space, images)
    return finetune_on(request, space, record.architecture, images, log=log, progress=progress)


def check_same_images(folder: Path, images: TrainingImages) -> None:
    """Raise :class:`MismatchError` unless a supernet was trained on these images.

    Otherwise some that it is judged by now may be among those that it was trained on.
    """
    held = load_supernet_record(folder).images
    if (held.digest, held.validation_digest) != (images.training.digest, images.validation.digest):
        raise MismatchError(
            "are not the images that the supernet was trained on",
            subject=images.training.source,
            hint=f"name those, with the same `validation`; {folder} was trained on {held.training} images",
        )


def finetune_on(
    request: FinetuneRequest,
    space: Space,
    architecture: Architecture,
    images: TrainingImages,
    *,
    log: Log | None = None,
    progress: Progress | None = None,
) -> Finetuned:
    """Fine-tune on images that are read already; see :func:`finetune`."""
    said = progress or (lambda *_: None)
    net, provenance = load_supernet(space)
    before = _top1(space, net, architecture, images)
    recipe = tuning(
        images=len(images.training),
        epochs=request.epochs,
        batch_size=request.batch_size,
        augmentation=augmentation_for(max(space.image_sizes), flip=request.flip),
        balance=balance_for(images.counts),
        seed=request.seed,
    )
    origin = json.dumps({"weights": provenance.sha256, "architecture": architecture})
    make_folder(request.space / WORK)
    name = hashlib.sha256((origin + json.dumps(recipe.to_json())).encode()).hexdigest()[:12]

    def on_step(step: Step) -> None:
        said("fine-tuning", step.done, step.total, step.remaining_s)

    trainer = Trainer(
        _only(net, architecture),
        images.training.images,
        images.training.labels,
        mean=space.mean,
        std=space.std,
        recipe=recipe,
        checkpoint=request.space / WORK / f"tuned-{name}.pt",
        origin=origin,
        log=log or (lambda line: None),
        on_step=on_step,
        teacher=_largest(space),
        side=max(space.image_sizes),
        device=request.device,
    )
    trainer.run()
    net.cpu()
    after = _top1(space, net, architecture, images)
    better = after.right > before.right
    if better:
        save_tuned(net, space, architecture, request.output, force=request.force)
    return Finetuned(
        before=before, after=after, training_s=trainer.elapsed_s, weights=request.output if better else None
    )


def _only(net: nn.Module, architecture: Architecture) -> Elastic:
    """The supernet as a network with one subnet."""
    supernets.use_torch_activations(net)
    return replace(Elastic.of_one(net, architecture), activate=lambda chosen: supernets.activate(net, chosen))


def _largest(space: Space) -> nn.Module:
    """The supernet's largest subnet, to teach."""
    net, _ = load_supernet(space)
    return supernets.subnet(net, space.largest())


def _top1(space: Space, net: nn.Module, architecture: Architecture, images: TrainingImages) -> Top1:
    return SubnetEvaluator(space, net, images.validation).top1(architecture)
