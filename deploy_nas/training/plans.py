"""Plans of trainings: which recipes follow each other, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from deploy_nas.core.errors import OptionError
from deploy_nas.core.recipe import PHOTOGRAPHS, SMALL_IMAGES, Augmentation, Recipe

# Images up to this side are shifted, larger ones cut: a cut of a small image leaves too little of it.
SMALL_PIXELS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A teacher, if any, then stretches, each begun with the weights of the one before.

    Args:
        stretches: recipes of the supernet, in order; at least one.
        teacher: recipe of the network it learns from; ``None``: it learns from its own largest subnet.
        half: whether its weights are stored as float16.
    """

    stretches: tuple[Recipe, ...]
    teacher: Recipe | None = None
    half: bool = False

    def __post_init__(self) -> None:
        if not self.stretches:
            raise OptionError("must name at least one recipe", subject="stretches")

    def seeded(self, seed: int) -> Plan:
        """The plan with the seed in its first recipe, and the next seeds in the others."""
        stretches = tuple(replace(recipe, seed=seed + n) for n, recipe in enumerate(self.stretches))
        teacher = None if self.teacher is None else replace(self.teacher, seed=seed)
        return replace(self, stretches=stretches, teacher=teacher)


# What the embedded supernet was trained by; docs/notes/embedded.md explains it.
EMBEDDED = Plan(
    teacher=Recipe(
        largest_epochs=40,
        sandwich_epochs=0,
        decay_epochs=38,
        frozen_steps=0,
        batch_size=512,
        peak_lr=0.3,
        weight_decay=5e-4,
        label_smoothing=0.0,
        warmup_steps=176,
    ),
    stretches=(
        Recipe(
            largest_epochs=20,
            sandwich_epochs=120,
            decay_epochs=110,
            frozen_steps=1000,
            batch_size=512,
            peak_lr=0.4,
            muon_lr=0.06,
            warmup_steps=250,
        ),
        # Statistics are gathered again and the weights tuned to them.
        Recipe(
            largest_epochs=0, sandwich_epochs=0, decay_epochs=0, frozen_steps=400, frozen_lr=0.006, seed=1
        ),
    ),
    half=True,
)

_LARGEST_SHARE = 0.2
_FROZEN_EPOCHS = 1.0
_BATCH, _LR = 32, 0.02
_STATISTICS_BATCHES = 100
_UNEQUAL, _BALANCE = 10.0, 0.5
# A teacher's answers are softened less where it was trained on the same images.
_TUNING_LR, _TUNING_TEMPERATURE, _TEACHER_SHARE = 0.5 * _LR, 2.0, 0.5


def augmentation_for(image_size: int, *, flip: bool = True) -> Augmentation:
    """The random changes for images of this side, pixels; without ``flip`` none is mirrored."""
    return replace(SMALL_IMAGES if image_size <= SMALL_PIXELS else PHOTOGRAPHS, flip=flip)


def balance_for(counts: Sequence[int]) -> float:
    """``Recipe.balance`` for classes of these sizes: 0 unless they are very unequal."""
    return _BALANCE if max(counts) > _UNEQUAL * max(1, min(counts)) else 0.0


def fine_tuning(
    *,
    images: int,
    epochs: float,
    batch_size: int = _BATCH,
    augmentation: Augmentation,
    balance: float = 0.0,
    seed: int = 0,
) -> Plan:
    """The plan for a supernet with pretrained weights, on images of your own.

    A fifth of the epochs train the largest subnet, the rest all subnets. One more gathers statistics and
    tunes the weights to them.

    Args:
        images: number of images to train on.
        epochs: of the first two phases together, above 0.
        batch_size: images per step, at least 2.
        augmentation, balance, seed: as of :class:`Recipe`.

    Raises:
        OptionError: a number out of range.
    """
    if not 0 < epochs < 1e6:
        raise OptionError(f"must be above 0, is {epochs}", subject="epochs")
    if batch_size < 2:
        raise OptionError(f"must be at least 2, is {batch_size}", subject="batch_size")
    steps = max(1, round(images / batch_size))
    scale = batch_size / _BATCH
    return Plan(
        stretches=(
            Recipe(
                largest_epochs=_LARGEST_SHARE * epochs,
                sandwich_epochs=(1 - _LARGEST_SHARE) * epochs,
                decay_epochs=epochs,
                frozen_steps=max(1, round(_FROZEN_EPOCHS * steps)),
                statistics_batches=min(_STATISTICS_BATCHES, 4 * steps),
                batch_size=batch_size,
                peak_lr=_LR * scale,
                muon_lr=0.0,
                frozen_lr=0.15 * _LR * scale,
                head_lr_factor=5.0,
                weight_decay=3e-5,
                label_smoothing=0.1,
                warmup_steps=min(50, steps),
                every_size=True,
                balance=balance,
                augmentation=augmentation,
                seed=seed,
            ),
        )
    )


def tuning(
    *,
    images: int,
    epochs: float,
    batch_size: int = _BATCH,
    augmentation: Augmentation,
    balance: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """The recipe for one subnet of a trained supernet, taught by the largest.

    The arguments are those of :func:`fine_tuning`.
    """
    joint = fine_tuning(
        images=images,
        epochs=epochs,
        batch_size=batch_size,
        augmentation=augmentation,
        balance=balance,
        seed=seed,
    ).stretches[0]
    return replace(
        joint,
        largest_epochs=epochs,
        sandwich_epochs=0.0,
        peak_lr=_TUNING_LR * batch_size / _BATCH,
        head_lr_factor=1.0,
        temperature=_TUNING_TEMPERATURE,
        teacher_share=_TEACHER_SHARE,
    )
