"""How a supernet is trained: the parameters of one run, as values that its files keep."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields

from deploy_nas.core.errors import OptionError
from deploy_nas.core.fields import Fields


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """Random changes of the images to train on; each parameter can be switched off.

    Args:
        flip: mirrors half of the images.
        shift_pixels: moves each image by up to this many pixels either way; 0: not at all.
        cutout_pixels: side of a hidden square (DeVries and Taylor, 2017); 0 hides none.
        least_area: an image is cut to between this share of its area and all of it, at an aspect ratio of
            3:4 to 4:3, and enlarged again (Szegedy et al., 2015); 1: not at all.
        colour: brightness, contrast and saturation change by up to this share; 0: not at all.
    """

    flip: bool = True
    shift_pixels: int = 4
    cutout_pixels: int = 12
    least_area: float = 1.0
    colour: float = 0.0

    def __post_init__(self) -> None:
        if min(self.shift_pixels, self.cutout_pixels) < 0:
            raise OptionError("pixels must be at least 0", subject="augmentation")
        if not 0.01 <= self.least_area <= 1.0 or not 0.0 <= self.colour < 1.0:
            raise OptionError("least_area must be 0.01 to 1, colour 0 to below 1", subject="augmentation")


PHOTOGRAPHS = Augmentation(shift_pixels=0, cutout_pixels=0, least_area=0.5, colour=0.2)
SMALL_IMAGES = Augmentation()


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The parameters of a training run: on one machine, the same recipe and data give the same weights.

    ``training.loop`` describes the phases.

    Args:
        largest_epochs, sandwich_epochs: of the first two phases; how often each image is seen.
        decay_epochs: the learning rate falls over this many epochs at the end of the second phase.
        frozen_steps: steps of the third phase.
        statistics_batches: batches that the shared batch-norm statistics are gathered over.
        batch_size: images per step.
        peak_lr: highest learning rate of SGD.
        muon_lr, muon_weight_decay: of Muon, for pointwise convolutions; 0: SGD trains those too.
        frozen_lr: highest learning rate of the third phase.
        head_lr_factor: the classifier's learning rate, relative to the rest.
        momentum, weight_decay, label_smoothing: of SGD and of the loss.
        temperature: of the softmax in which a teacher's logits are compared.
        teacher_share: share of the loss that a teacher's answers have; the labels have the rest.
        warmup_steps: steps over which the learning rate rises.
        every_size: every subnet is trained at a random image size; otherwise the largest and the smallest
            keep theirs in the second phase.
        balance: exponent of the weight of a class in the loss, ``count ** -balance``; 0: all images weigh
            the same.
        augmentation: of the images.
        seed: of everything random.
    """

    largest_epochs: float = 16.0
    sandwich_epochs: float = 20.0
    decay_epochs: float = 10.0
    frozen_steps: int = 1000
    statistics_batches: int = 150
    batch_size: int = 128
    peak_lr: float = 0.12
    muon_lr: float = 0.03
    muon_weight_decay: float = 0.05
    frozen_lr: float = 0.02
    head_lr_factor: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 3e-4
    label_smoothing: float = 0.05
    temperature: float = 4.0
    teacher_share: float = 1.0
    warmup_steps: int = 350
    every_size: bool = False
    balance: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def epochs(self, images: int) -> float:
        """How often the three phases together see each image, for this number of images."""
        frozen = self.frozen_steps / math.ceil(images / self.batch_size)
        return self.largest_epochs + self.sandwich_epochs + frozen

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Fields) -> Recipe:
        """From a file's object; a parameter that it lacks has its default. Raises :class:`RecordError`."""
        given = {name.name: _read(value, name.name) for name in fields(cls) if value.holds(name.name)}
        # Files of earlier versions have it beside the rest.
        cutout = {"cutout_pixels": value.integer("cutout_pixels", 0)} if value.holds("cutout_pixels") else {}
        inner = value.fields("augmentation") if value.holds("augmentation") else Fields(cutout, value.where)
        changes = {
            part.name: _read(inner, part.name) for part in fields(Augmentation) if inner.holds(part.name)
        }
        return cls(**{**given, "augmentation": Augmentation(**changes)})  # type: ignore[arg-type]


_WHOLE = frozenset(
    {
        "frozen_steps",
        "statistics_batches",
        "batch_size",
        "warmup_steps",
        "seed",
        "shift_pixels",
        "cutout_pixels",
    }
)
_SWITCHES = frozenset({"flip", "every_size"})


def _read(value: Fields, name: str) -> object:
    if name == "augmentation":
        return None
    if name in _SWITCHES:
        return value.boolean(name)
    return value.integer(name, 0) if name in _WHOLE else value.number(name)
