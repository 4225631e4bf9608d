"""Passes over one batch: subnets learn from it or gather statistics, and a teacher gives targets for it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from deploy_nas.core.recipe import Recipe
from deploy_nas.training.augment import to_device
from deploy_nas.training.depthwise import quick_depthwise
from deploy_nas.training.ranks import ALONE, Ranks
from deploy_nas.training.replay import Replay
from deploy_nas.training.shared_norm import shared_norms

SetArchitecture = Callable[[dict[str, Any]], None]


class Masked(Protocol):
    """All subnets in the shapes of the largest (``adapters.supernets.Masked``)."""

    def genes(self, architecture: dict[str, Any]) -> np.ndarray[Any, Any]:
        """The genes that reduce the largest subnet to this one."""

    def __call__(self, x: torch.Tensor, genes: torch.Tensor) -> torch.Tensor:
        """The logits of the subnet with these genes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Elastic:
    """The supernet as the trainer needs it: a module, and how to choose a subnet of it.

    ``sample(rng)`` gives an architecture dict with ``image_size``; ``activate(architecture)`` sets it.
    With ``masked``, random subnets keep the same shapes on a GPU.
    """

    net: nn.Module
    activate: SetArchitecture
    sample: Callable[[np.random.Generator], dict[str, Any]]
    smallest: dict[str, Any]
    largest: dict[str, Any]
    image_sizes: tuple[int, ...]
    masked: Masked | None = None

    @classmethod
    def of_one(cls, net: nn.Module, architecture: dict[str, Any]) -> Elastic:
        """A network that is its only subnet, at the one size ``architecture["image_size"]``."""
        return cls(
            net=net,
            activate=lambda architecture: None,
            sample=lambda rng: architecture,
            smallest=architecture,
            largest=architecture,
            image_sizes=(architecture["image_size"],),
        )


class Passes:
    """The passes of one training run.

    Args:
        elastic: the supernet, on the device.
        device: the device to work on.
        teacher: returns logits for images of the given side; every subnet learns them, if there is a teacher.
        recipe: for temperature, label smoothing and the teacher's share of the loss.
        class_weights: weight of each class in the loss of the labels, ``[classes]``.
        written: returns the tensors that other recorded functions write into.
        ranks: the processes that work on the same batch, a part each; nothing is recorded with others.
    """

    def __init__(
        self,
        elastic: Elastic,
        *,
        device: torch.device,
        teacher: nn.Module | None,
        recipe: Recipe,
        class_weights: torch.Tensor | None = None,
        written: Callable[[], Sequence[torch.Tensor]],
        ranks: Ranks = ALONE,
    ) -> None:
        self.elastic, self.device, self.recipe, self.ranks = elastic, device, recipe, ranks
        self.class_weights = class_weights
        self.net = elastic.net
        self.norms = [m for m in self.net.modules() if isinstance(m, nn.BatchNorm2d)]
        self.teacher = teacher
        if teacher is not None:
            teacher.to(device).to(memory_format=torch.channels_last).eval()
        # Without a teacher there is nothing to soften.
        self.temperature = 1.0 if teacher is None else recipe.temperature
        self.teacher_share = 1.0 if teacher is None else recipe.teacher_share
        self.replay = Replay(device, lambda: [*self.written(), *written()], alone=ranks.alone)

    def forward(self, x: torch.Tensor, architecture: dict[str, Any]) -> torch.Tensor:
        """Logits of one subnet, at its image size."""
        self.elastic.activate(architecture)
        with quick_depthwise(), shared_norms(self.ranks):
            out: torch.Tensor = self.net(scaled(x, architecture["image_size"]))
        return out

    def subnet(
        self, architecture: dict[str, Any]
    ) -> tuple[Any, Callable[..., torch.Tensor], tuple[Any, ...]]:
        """The key that a subnet's passes are recorded by, their function of images and more, and the rest."""
        fixed, size = (self.elastic.smallest, self.elastic.largest), architecture["image_size"]
        if not self.replay.records or any(architecture == one | {"image_size": size} for one in fixed):
            return json.dumps(architecture), lambda x: self.forward(x, architecture), ()
        if (masked := self.elastic.masked) is None:
            return None, lambda x: self.forward(x, architecture), ()
        genes = to_device(masked.genes(architecture), self.device)
        return size, lambda x, genes: masked(scaled(x, size), genes), (genes,)

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """bfloat16 on a GPU, where autocast permits it."""
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.device.type == "cuda", cache_enabled=False
        )

    def learn(
        self, x: torch.Tensor, target: torch.Tensor, labels: torch.Tensor, architecture: dict[str, Any]
    ) -> tuple[torch.Tensor, ...]:
        """Add one subnet's gradients; returns its loss and logits. ``target`` is labels or probabilities."""
        key, logits_of, more = self.subnet(architecture)

        def function(
            x: torch.Tensor, target: torch.Tensor, labels: torch.Tensor, *more: torch.Tensor
        ) -> tuple[torch.Tensor, ...]:
            with self.precision():
                logits = logits_of(x, *more).float()
            loss = self.loss(logits, target)
            if self.teacher_share < 1.0:
                loss = self.teacher_share * loss + (1.0 - self.teacher_share) * self.label_loss(
                    logits, labels
                )
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach(), logits.detach()

        kind = None if key is None else ("learn", self.frozen(), target.dtype, key)
        return self.replay(kind, function, x, target, labels, *more)

    def label_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy with labels; the mean over the processes is that of the whole batch."""
        loss = functional.cross_entropy(
            logits, labels, weight=self.class_weights, label_smoothing=self.recipe.label_smoothing
        )
        if self.class_weights is None or self.ranks.alone:
            return loss
        own = self.class_weights[labels].sum()
        whole = own.clone()
        self.ranks.add_up(whole)
        return loss * (own * self.ranks.size / whole)

    def loss(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Cross-entropy with labels; divergence from probabilities, times the squared temperature.

        The factor keeps the size of the gradients (Hinton et al., 2015).
        """
        if not target.is_floating_point():
            return self.label_loss(logits, target)
        log_probabilities = (logits / self.temperature).log_softmax(1)
        return functional.kl_div(log_probabilities, target, reduction="batchmean") * self.temperature**2

    def targets(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Targets for the largest subnet: the teacher's probabilities, or the labels."""
        if (teacher := self.teacher) is None:
            return labels

        def function(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            with torch.no_grad(), self.precision():
                return ((teacher(x).float() / self.temperature).softmax(1),)

        return self.replay("teacher", function, x)[0]

    def update_statistics(self, x: torch.Tensor, architecture: dict[str, Any]) -> None:
        """Run a pass that only updates the batch-norm statistics.

        It is never masked: skipped blocks would be counted too, and deep blocks would get the statistics of
        shallow subnets.
        """
        with torch.no_grad(), self.precision():
            self.forward(x, architecture)

    def frozen(self) -> bool:
        """Whether batch norms use the statistics they have."""
        return not any(norm.training for norm in self.norms)

    def written(self) -> list[torch.Tensor]:
        """Buffers that a pass writes into."""
        return [*(p.grad for p in self.net.parameters() if p.grad is not None), *self.net.buffers()]


def scaled(x: torch.Tensor, size: int) -> torch.Tensor:
    """``[n, 3, side, side]`` as ``[n, 3, size, size]``."""
    if size == x.shape[-1]:
        return x
    x = functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    return x.contiguous(memory_format=torch.channels_last)
