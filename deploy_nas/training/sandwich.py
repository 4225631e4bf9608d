"""Train an elastic supernet: the largest subnet first, then the sandwich rule, then shared statistics.

Three phases, each from a checkpoint, so that a run can be stopped anywhere:

1. ``largest``: the largest subnet alone, at random image sizes (OFA's first stage).
2. ``sandwich``: largest, smallest and one random subnet a step; the two small ones learn from the
   largest's logits (Yu et al., BigNAS, 2020: sandwich rule and in-place distillation).
3. ``frozen``: batch-norm statistics are gathered over random subnets, then the weights are tuned
   with those shared statistics frozen, so that a subnet works without recalibration data.

The pointwise convolutions that a batch norm follows are trained by Muon in the first two phases (Jordan
et al., 2024): further in the same epochs than SGD alone. Its steps are as large as its learning rate says,
whatever the gradient: without a norm behind them they kill the ReLUs of squeeze-and-excitation. Everything
else, and the last phase, is SGD with momentum.

The learning rate is steady until the last ``decay_epochs`` of the second phase. The state before the decay
is kept beside the checkpoint, so that a run of more sandwich epochs goes on from there and ends as if it
had been asked for so many from the start.
"""

from __future__ import annotations

import copy
import json
import math
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.training.depthwise import quick_depthwise
from deploy_nas.training.muon import exact_on_cpu, normalised_pointwise

SetArchitecture = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What a training run is: the same recipe, data and seed give the same weights on one machine."""

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
    cutout_pixels: int = 12
    warmup_steps: int = 350
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Elastic:
    """The supernet as the trainer needs it: a module, and how to choose a subnet of it.

    ``sample(rng)`` gives an architecture dict with ``image_size``; ``activate(architecture)`` sets it.
    """

    net: nn.Module
    activate: SetArchitecture
    sample: Callable[[np.random.Generator], dict[str, Any]]
    smallest: dict[str, Any]
    largest: dict[str, Any]
    image_sizes: tuple[int, ...]


class Trainer:
    """Runs the three phases; :meth:`run` returns the trained state dict.

    Args:
        elastic: the supernet.
        images: uint8 ``[n, 3, height, width]``.
        labels: int64 ``[n]``.
        mean, std: per channel, of pixels scaled to 0..1.
        checkpoint: file the state is kept in; an existing one is resumed.
        origin: names the weights and images begun with; a checkpoint of another origin is refused.
        log: called with one line now and then.
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
        checkpoint_every_s: float = 60.0,
    ) -> None:
        self.elastic, self.recipe, self.checkpoint, self.log = elastic, recipe, checkpoint, log
        self.origin, self.checkpoint_every_s = origin, checkpoint_every_s
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net = elastic.net.to(self.device).to(memory_format=torch.channels_last)
        self.images = torch.from_numpy(images).to(self.device)
        self.labels = torch.from_numpy(labels).to(self.device)
        self.mean = torch.tensor(mean, device=self.device).view(1, 3, 1, 1)
        self.std = torch.tensor(std, device=self.device).view(1, 3, 1, 1)
        self.rng = np.random.default_rng(recipe.seed)
        steps = math.ceil(len(labels) / recipe.batch_size)
        self.phase_steps = {
            "largest": round(recipe.largest_epochs * steps),
            "sandwich": round(recipe.sandwich_epochs * steps),
            "frozen": recipe.frozen_steps,
        }
        self.step = 0
        self.elapsed_s = 0.0
        self.order: np.ndarray[Any, Any] = np.empty(0, dtype=np.int64)
        self.joint_steps = self.phase_steps["largest"] + self.phase_steps["sandwich"]
        self.decay_start = max(0, self.joint_steps - round(recipe.decay_epochs * steps))
        self.pointwise = normalised_pointwise(self.net)
        # Muon takes matrices: two-dimensional views of the same memory.
        self.matrices = [nn.Parameter(p.detach().view(p.shape[:2])) for p in self.pointwise]
        self.muon = torch.optim.Muon(
            self.matrices,
            lr=recipe.muon_lr,
            weight_decay=recipe.muon_weight_decay,
            momentum=recipe.momentum,
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

    # -- state ---------------------------------------------------------------------------------

    @property
    def steady(self) -> Path:
        """The file of the state before the learning rate falls."""
        return self.checkpoint.with_suffix(".steady.pt")

    def save(self, path: Path | None = None) -> None:
        """Write the whole state beside the checkpoint, then replace it: never half a file."""
        path = path or self.checkpoint
        state = {
            "recipe": json.dumps(asdict(self.recipe)),
            "origin": self.origin,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "rng": json.dumps(self.rng.bit_generator.state),
            "order": torch.from_numpy(self.order),
            "state_dict": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "muon": self.muon.state_dict(),
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)

    def resume(self) -> None:
        """Go on from the checkpoint where there is one, or from the steady state of a shorter run."""
        if not self.checkpoint.exists():
            return
        state = self.load(self.checkpoint)
        if json.loads(state["recipe"]) != asdict(self.recipe):
            state = self.load_steady()
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.order = state["order"].cpu().numpy()
        # In place: OFA's own load_state_dict renames keys and would not take its own names back.
        own = dict(self.net.named_parameters()) | dict(self.net.named_buffers())
        with torch.no_grad():
            for name, value in state["state_dict"].items():
                own[name].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.muon.load_state_dict(state["muon"])
        self.log(f"resumed at step {self.step}")

    def load_steady(self) -> dict[str, Any]:
        """The state before the decay of a run with fewer sandwich epochs and else this recipe."""
        if self.steady.exists():
            state = self.load(self.steady)
            same = json.loads(state["recipe"]) | {"sandwich_epochs": self.recipe.sandwich_epochs}
            if same == asdict(self.recipe) and state["step"] <= self.decay_start:
                return state
        raise MismatchError(
            "made with another recipe", subject=str(self.checkpoint), hint="name another folder, or remove it"
        )

    def load(self, path: Path) -> dict[str, Any]:
        """A state that :meth:`save` wrote, of the same origin."""
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise RecordError(
                "is no checkpoint, or cut short", subject=str(path), hint="remove it to begin anew"
            ) from error
        if state.get("origin", self.origin) != self.origin:
            raise MismatchError(
                "began with other weights or images",
                subject=str(path),
                hint="name another folder, or remove it",
            )
        return state

    # -- data ----------------------------------------------------------------------------------

    def batch(self, *, whole: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """The next training batch: random crop of a 4-pixel padding and flip, normalised, and cutout
        (DeVries and Taylor, 2017) unless ``whole``."""
        size = self.recipe.batch_size
        if len(self.order) < size:
            self.order = np.concatenate([self.order, self.rng.permutation(len(self.labels))])
        chosen, self.order = self.order[:size], self.order[size:]
        index = torch.from_numpy(chosen).to(self.device)
        x = functional.pad(self.images[index], (4, 4, 4, 4))
        side = self.images.shape[-1]
        top = torch.from_numpy(self.rng.integers(0, 9, size)).to(self.device)
        left = torch.from_numpy(self.rng.integers(0, 9, size)).to(self.device)
        flip = torch.from_numpy(self.rng.integers(0, 2, size).astype(bool)).to(self.device)
        steps = torch.arange(side, device=self.device)
        rows = (top[:, None] + steps)[:, None, :, None]
        columns = left[:, None] + torch.where(flip[:, None], steps.flip(0), steps)
        n = torch.arange(size, device=self.device)[:, None, None, None]
        c = torch.arange(3, device=self.device)[None, :, None, None]
        x = x[n, c, rows, columns[:, None, None, :]]
        y = self.normalise(x)
        if not whole and self.recipe.cutout_pixels:
            y = y.masked_fill(self.holes(size, side), 0.0)
        return y, self.labels[index]

    def holes(self, size: int, side: int) -> torch.Tensor:
        """bool ``[size, 1, side, side]``: a square a picture, its middle anywhere."""
        middle = torch.from_numpy(self.rng.integers(0, side, (2, size))).to(self.device)
        offset = torch.arange(side, device=self.device) - middle[:, :, None] + self.recipe.cutout_pixels // 2
        inside = (offset >= 0) & (offset < self.recipe.cutout_pixels)
        return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]

    def normalise(self, x: torch.Tensor) -> torch.Tensor:
        """uint8 ``[n, 3, h, w]`` to the network's input."""
        y = (x.float() / 255.0 - self.mean) / self.std
        return y.contiguous(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor, architecture: dict[str, Any]) -> torch.Tensor:
        """Logits of one subnet, at its image size."""
        size = architecture["image_size"]
        if size != x.shape[-1]:
            x = functional.interpolate(
                x, size=(size, size), mode="bilinear", antialias=True, align_corners=False
            )
            x = x.contiguous(memory_format=torch.channels_last)
        self.elastic.activate(architecture)
        with quick_depthwise():
            out: torch.Tensor = self.net(x)
        return out

    # -- phases --------------------------------------------------------------------------------

    def learning_rate(self) -> float:
        """Linear warm-up, steady, then linear decay over the first two phases; cosine over the last."""
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
        """Batch-norm statistics as the average over random subnets: what every subnet will share."""
        self.net.train()
        norms = [m for m in self.net.modules() if isinstance(m, nn.BatchNorm2d)]
        kept = [m.momentum for m in norms]
        for m in norms:
            m.momentum = 0.03
        with torch.no_grad():
            for _ in range(self.recipe.statistics_batches):
                x, _ = self.batch(whole=True)
                self.forward(x, self.elastic.sample(self.rng))
        for m, momentum in zip(norms, kept, strict=True):
            m.momentum = momentum

    def train_step(self, phase: str) -> float:
        """One optimiser step; returns the largest subnet's loss."""
        self.net.train()
        if phase == "frozen":
            for m in self.net.modules():
                if isinstance(m, nn.BatchNorm2d):
                    m.eval()
        lr = self.learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        for group in self.muon.param_groups:
            group["lr"] = lr * self.recipe.muon_lr / self.recipe.peak_lr
        x, y = self.batch(whole=phase == "frozen")
        self.optimizer.zero_grad(set_to_none=True)
        largest = dict(self.elastic.largest)
        if phase == "largest":
            largest["image_size"] = int(self.rng.choice(self.elastic.image_sizes, p=self.size_weights()))
        logits = self.forward(x, largest)
        loss = functional.cross_entropy(logits, y, label_smoothing=self.recipe.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        if phase != "largest":
            target = logits.detach().softmax(1)
            for architecture in (self.elastic.smallest, self.elastic.sample(self.rng)):
                functional.cross_entropy(self.forward(x, architecture), target).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        if phase != "frozen":
            self.step_matrices()
        self.optimizer.step()
        return float(loss.item())

    def step_matrices(self) -> None:
        """Muon's step of the pointwise weights, and no other: SGD passes over what has no gradient."""
        for weight, matrix in zip(self.pointwise, self.matrices, strict=True):
            matrix.grad = None if weight.grad is None else weight.grad.view(weight.shape[:2])
            weight.grad = None
        with exact_on_cpu():
            self.muon.step()  # type: ignore[no-untyped-call]

    def size_weights(self) -> list[float]:
        """The largest image size half of the time."""
        others = len(self.elastic.image_sizes) - 1
        top = max(self.elastic.image_sizes)
        return [0.5 if s == top else 0.5 / others for s in self.elastic.image_sizes] if others else [1.0]

    def run(self) -> dict[str, torch.Tensor]:
        """All three phases from wherever the checkpoint stands; returns a copy of the state dict."""
        self.resume()
        total = sum(self.phase_steps.values())
        started, saved = time.monotonic(), time.monotonic()
        before, loss = self.elapsed_s, float("nan")
        while self.step < total:
            phase = self.phase()
            if self.step == self.decay_start:
                self.save(self.steady)
            if phase == "frozen" and self.step == total - self.phase_steps["frozen"]:
                self.save()
                self.gather_statistics()
            value = self.train_step(phase)
            loss = value if math.isnan(loss) else 0.98 * loss + 0.02 * value
            self.step += 1
            now = time.monotonic()
            self.elapsed_s = before + now - started
            if self.step % 50 == 0 or self.step == total:
                self.log(
                    f"{phase} step {self.step}/{total} loss {loss:.3f} lr {self.learning_rate():.4f} "
                    f"elapsed {self.elapsed_s:.0f}s"
                )
            if now - saved > self.checkpoint_every_s or self.step == total:
                self.save()
                saved = now
        return copy.deepcopy(self.net.state_dict())

    # -- judging -------------------------------------------------------------------------------

    def accuracy(
        self, architecture: dict[str, Any], images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]
    ) -> float:
        """Top-1 in percent of one subnet with the statistics the net holds."""
        self.net.eval()
        right = 0
        with torch.no_grad():
            for start, stop in batches(len(labels), 500):
                x = self.normalise(torch.from_numpy(images[start:stop]).to(self.device))
                guess = self.forward(x, architecture).argmax(1).cpu().numpy()
                right += int((guess == labels[start:stop]).sum())
        return 100.0 * right / len(labels)


def batches(total: int, size: int) -> Iterator[tuple[int, int]]:
    """``(start, stop)`` pairs that cover ``range(total)``."""
    for start in range(0, total, size):
        yield start, min(start + size, total)
