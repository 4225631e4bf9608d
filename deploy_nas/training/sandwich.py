"""Train an elastic supernet: the largest subnet first, then the sandwich rule, then shared statistics.

Training has three phases, and resumes from a checkpoint, so that a run can be stopped anywhere:

1. ``largest``: the largest subnet alone, at random image sizes (OFA's first stage).
2. ``sandwich``: largest, smallest and one random subnet per step (Yu et al., BigNAS, 2020: sandwich rule).
3. ``frozen``: batch-norm statistics are gathered over random subnets, then the weights are tuned
   with those shared statistics frozen, so that a subnet works without recalibration data.

With a teacher, every subnet learns the teacher's probabilities for the same crops (Hinton et al., 2015; Beyer
et al., 2022). Without one, the largest subnet learns the labels, and the two others its probabilities.

In the first two phases, Muon trains the pointwise convolutions that a batch norm follows (Jordan et al.,
2024), which gets further in the same number of epochs than SGD alone. The size of its steps depends only on
the learning rate, not on the gradient: without a following norm they would kill the ReLUs of
squeeze-and-excitation. SGD with momentum trains everything else, and everything in the last phase.

The learning rate is constant until the last ``decay_epochs`` of the second phase. The state before the decay
is kept beside the checkpoint, so that a run with more sandwich epochs continues from there and ends as if it
had had that many from the start.
"""

from __future__ import annotations

import copy
import json
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.training.batches import Batches, spans
from deploy_nas.training.muon import Muon, normalised_pointwise
from deploy_nas.training.passes import Elastic, Passes

_CLIPPED_NORM = 5.0
_STATISTICS_MOMENTUM = 0.03


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The parameters of a training run: on one machine, the same recipe and data give the same weights."""

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
    momentum: float = 0.9
    weight_decay: float = 3e-4
    label_smoothing: float = 0.05
    temperature: float = 4.0
    cutout_pixels: int = 12
    warmup_steps: int = 350
    seed: int = 0

    def epochs(self, images: int) -> float:
        """How often the three phases together see each image, for this number of images."""
        frozen = self.frozen_steps / math.ceil(images / self.batch_size)
        return self.largest_epochs + self.sandwich_epochs + frozen


class Trainer:
    """Runs the three phases; :meth:`run` returns the trained state dict.

    Args:
        elastic: the supernet.
        images: uint8 ``[n, 3, height, width]``.
        labels: int64 ``[n]``.
        mean, std: per channel, of pixels scaled to 0..1.
        checkpoint: file of the state; an existing one is resumed.
        origin: names the initial weights and the images; a checkpoint of another origin is refused.
        log: called with a line of progress every 50 steps.
        teacher: returns logits for images of the given side.
    """

    def __init__(
        self,
        elastic: Elastic,
        images: np.ndarray[Any, Any],
        labels: np.ndarray[Any, Any],
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        recipe: Recipe,
        checkpoint: Path,
        origin: str,
        log: Callable[[str], None],
        teacher: nn.Module | None = None,
        checkpoint_every_s: float = 60.0,
    ) -> None:
        self.elastic, self.recipe, self.checkpoint, self.log = elastic, recipe, checkpoint, log
        self.origin, self.checkpoint_every_s = origin, checkpoint_every_s
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.backends.cudnn.deterministic = True  # no slower here
        self.net = elastic.net.to(self.device).to(memory_format=torch.channels_last)
        self.rng = np.random.default_rng(recipe.seed)
        self.batches = Batches(
            images,
            labels,
            mean=mean,
            std=std,
            size=recipe.batch_size,
            cutout_pixels=recipe.cutout_pixels,
            rng=self.rng,
            device=self.device,
        )
        steps = math.ceil(len(labels) / recipe.batch_size)
        self.phase_steps = {
            "largest": round(recipe.largest_epochs * steps),
            "sandwich": round(recipe.sandwich_epochs * steps),
            "frozen": recipe.frozen_steps,
        }
        self.step = 0
        self.elapsed_s = 0.0
        self.joint_steps = self.phase_steps["largest"] + self.phase_steps["sandwich"]
        self.decay_start = max(0, self.joint_steps - round(recipe.decay_epochs * steps))
        self.pointwise = normalised_pointwise(self.net)
        self.muon = Muon(self.pointwise, momentum=recipe.momentum)
        self.passes = Passes(
            elastic,
            device=self.device,
            teacher=teacher,
            temperature=recipe.temperature,
            label_smoothing=recipe.label_smoothing,
            written=self.muon.written,
        )
        decayed = [p for p in self.net.parameters() if p.ndim > 1]
        plain = [p for p in self.net.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.SGD(
            [
                {"params": decayed, "weight_decay": recipe.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=recipe.peak_lr,
            momentum=recipe.momentum,
            nesterov=True,
        )

    @property
    def device_name(self) -> str:
        """``cpu``, or the name of the GPU."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)

    # -- state ---------------------------------------------------------------------------------

    @property
    def steady(self) -> Path:
        """The file of the state before the learning rate decays."""
        return self.checkpoint.with_suffix(".steady.pt")

    def save(self, path: Path | None = None) -> None:
        """Write the whole state beside the checkpoint, then replace that: the file is never incomplete."""
        path = path or self.checkpoint
        state = {
            "recipe": json.dumps(asdict(self.recipe)),
            "origin": self.origin,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "rng": json.dumps(self.rng.bit_generator.state),
            "order": torch.from_numpy(self.batches.order),
            "state_dict": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "muon": self.muon.optimizer.state_dict(),
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)

    def resume(self) -> None:
        """Continue from the checkpoint, if there is one, or from the steady state of a shorter run."""
        if not self.checkpoint.exists():
            return
        state = self.load(self.checkpoint)
        if json.loads(state["recipe"]) != asdict(self.recipe):
            state = self.load_steady()
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.batches.order = state["order"].cpu().numpy()
        # In place: OFA's load_state_dict renames keys and does not accept its own names.
        own = dict(self.net.named_parameters()) | dict(self.net.named_buffers())
        with torch.no_grad():
            for name, value in state["state_dict"].items():
                own[name].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.muon.optimizer.load_state_dict(state["muon"])
        self.log(f"resumed at step {self.step}")

    def load_steady(self) -> dict[str, Any]:
        """The state before the decay of a run with fewer sandwich epochs and otherwise this recipe."""
        if self.steady.exists():
            state = self.load(self.steady)
            same = json.loads(state["recipe"]) | {"sandwich_epochs": self.recipe.sandwich_epochs}
            if same == asdict(self.recipe) and state["step"] <= self.decay_start:
                return state
        raise MismatchError(
            "was made with another recipe",
            subject=str(self.checkpoint),
            hint="name another folder, or remove it",
        )

    def load(self, path: Path) -> dict[str, Any]:
        """Read a state that :meth:`save` wrote, of the same origin."""
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise RecordError(
                "is not a checkpoint, or is cut short", subject=str(path), hint="remove it to start over"
            ) from error
        if state.get("origin", self.origin) != self.origin:
            raise MismatchError(
                "began with other weights, other images or another teacher",
                subject=str(path),
                hint="name another folder, or remove it",
            )
        return state

    # -- phases --------------------------------------------------------------------------------

    def learning_rate(self) -> float:
        """Linear warm-up, constant, then linear decay over the first two phases; cosine over the last."""
        left = self.joint_steps - self.step
        if left > 0:
            warm = min(1.0, (self.step + 1) / max(1, self.recipe.warmup_steps))
            return (
                self.recipe.peak_lr
                * warm
                * max(0.005, min(1.0, left / max(1, self.joint_steps - self.decay_start)))
            )
        done = -left / max(1, self.phase_steps["frozen"])
        return self.recipe.frozen_lr * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))

    def phase(self) -> str:
        """The phase of the next step."""
        if self.step < self.phase_steps["largest"]:
            return "largest"
        if self.step < self.joint_steps:
            return "sandwich"
        return "frozen"

    def gather_statistics(self) -> None:
        """Set the batch-norm statistics to the average over random subnets, for all subnets to share."""
        self.net.train()
        norms = self.passes.norms
        kept = [m.momentum for m in norms]
        # The first pass replaces the statistics of training, which had cutout and, on a GPU, masked passes.
        for norm in norms:
            norm.momentum = 1.0
        self.passes.update_statistics(self.batches.next(whole=True)[0], self.elastic.largest)
        for norm in norms:
            norm.momentum = _STATISTICS_MOMENTUM
        for _ in range(self.recipe.statistics_batches):
            self.passes.update_statistics(self.batches.next(whole=True)[0], self.elastic.sample(self.rng))
        for norm, momentum in zip(norms, kept, strict=True):
            norm.momentum = momentum

    def train_step(self, phase: str) -> torch.Tensor:
        """Take one optimiser step; returns the largest subnet's loss without waiting for a GPU."""
        self.net.train()
        if phase == "frozen":
            for norm in self.passes.norms:
                norm.eval()
        lr = self.learning_rate()
        x, labels = self.batches.next(whole=phase == "frozen")
        self.optimizer.zero_grad(set_to_none=not self.passes.replay.records)
        largest = dict(self.elastic.largest)
        if phase == "largest":
            largest["image_size"] = int(self.rng.choice(self.elastic.image_sizes, p=self.size_weights()))
        target = self.passes.targets(x, labels)
        loss, logits = self.passes.learn(x, target, largest)
        if phase != "largest":
            if target is labels:
                target = logits.softmax(1)
            for architecture in (self.elastic.smallest, self.elastic.sample(self.rng)):
                self.passes.learn(x, target, architecture)

        def prepare() -> tuple[torch.Tensor, ...]:
            nn.utils.clip_grad_norm_(self.net.parameters(), _CLIPPED_NORM)
            if phase != "frozen":
                self.muon.orthogonalise()
            return ()

        self.passes.replay(("prepare", phase), prepare)
        self.take_step(lr, joint=phase != "frozen")
        return loss

    def take_step(self, lr: float, *, joint: bool) -> None:
        """Step the pointwise weights with Muon and the others with SGD; unless ``joint``, all with SGD."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if not joint:
            self.optimizer.step()
            return
        recipe = self.recipe
        self.muon.step(lr * recipe.muon_lr / recipe.peak_lr, recipe.muon_weight_decay)
        kept = [p.grad for p in self.pointwise]
        for p in self.pointwise:
            p.grad = None  # SGD skips it
        self.optimizer.step()
        for p, gradient in zip(self.pointwise, kept, strict=True):
            p.grad = gradient  # a recorded pass adds to this same tensor

    def size_weights(self) -> list[float]:
        """Probability of each image size: 0.5 for the largest, the rest shared by the others."""
        others = len(self.elastic.image_sizes) - 1
        top = max(self.elastic.image_sizes)
        return [0.5 if s == top else 0.5 / others for s in self.elastic.image_sizes] if others else [1.0]

    def run(self) -> dict[str, torch.Tensor]:
        """Run all three phases, or the rest after a checkpoint; returns a copy of the state dict."""
        self.resume()
        total = sum(self.phase_steps.values())
        started, saved = time.monotonic(), time.monotonic()
        before, loss = self.elapsed_s, None
        while self.step < total:
            phase = self.phase()
            if self.step == self.decay_start:
                self.save(self.steady)
            if phase == "frozen" and self.step == total - self.phase_steps["frozen"]:
                self.save()
                self.gather_statistics()
            value = self.train_step(phase)
            loss = value if loss is None else 0.98 * loss + 0.02 * value
            self.step += 1
            now = time.monotonic()
            self.elapsed_s = before + now - started
            if self.step % 50 == 0 or self.step == total:
                self.log(
                    f"{phase} step {self.step}/{total} loss {float(loss):.3f} lr {self.learning_rate():.4f} "
                    f"elapsed {self.elapsed_s:.0f}s"
                )
            if now - saved > self.checkpoint_every_s or self.step == total:
                self.save()
                saved = now
        return copy.deepcopy(self.net.state_dict())

    # -- evaluating -------------------------------------------------------------------------------

    def accuracy(
        self, architecture: dict[str, Any], images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]
    ) -> float:
        """Top-1 in percent of one subnet, with the net's own batch-norm statistics."""
        self.net.eval()
        right = 0
        with torch.no_grad():
            for start, stop in spans(len(labels), 500):
                x = self.batches.normalise(torch.from_numpy(images[start:stop]).to(self.device))
                guess = self.passes.forward(x, architecture).argmax(1).cpu().numpy()
                right += int((guess == labels[start:stop]).sum())
        return 100.0 * right / len(labels)
