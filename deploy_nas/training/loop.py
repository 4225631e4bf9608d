"""Train an elastic supernet: the largest subnet first, then the sandwich rule, then shared statistics.

Training has three phases, and resumes from a checkpoint, so that a run can be stopped anywhere:

1. ``largest``: the largest subnet alone, at random image sizes (OFA's first stage).
2. ``sandwich``: largest, smallest and one random subnet per step (Yu et al., BigNAS, 2020: sandwich rule).
3. ``frozen``: batch-norm statistics are gathered over random subnets, then the weights are tuned
   with those shared statistics frozen, so that a subnet works without recalibration data.

With a teacher, every subnet learns the teacher's probabilities for the same crops (Hinton et al., 2015; Beyer
et al., 2022), or a mixture of these and the labels. Without one, the largest subnet learns the labels, and
the two others its probabilities.

A recipe may have Muon train, in the first two phases, the pointwise convolutions that a batch
norm follows (Jordan et al., 2024). From random weights this gets further in the same number of epochs than
SGD. The size of its steps depends only on
the learning rate, not on the gradient: without a following norm they would kill the ReLUs of
squeeze-and-excitation. SGD with momentum trains everything else, and everything in the last phase.

The learning rate is constant until the last ``decay_epochs`` of the second phase. The state before the decay
is kept beside the checkpoint, so that a run with more sandwich epochs continues from there and ends as if it
had had that many from the start.

Several processes may train together (``training.ranks``). All draw the same random numbers for whole batches,
each works on a part of every batch, and batch norms and gradients are those of the whole: the result is that
of one process, up to rounding, and a checkpoint does not say how many there were.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deploy_nas.core.errors import OptionError
from deploy_nas.core.recipe import Recipe
from deploy_nas.training.augment import Batches, class_weights, spans
from deploy_nas.training.checkpoint import Checkpoints
from deploy_nas.training.muon import Muon, normalised_pointwise
from deploy_nas.training.passes import Elastic, Passes
from deploy_nas.training.progress import CurvePoint, Step, StepTimes
from deploy_nas.training.ranks import ALONE, Ranks, uninterrupted
from deploy_nas.training.schedule import FROZEN, LARGEST, Schedule

_CLIPPED_NORM = 5.0
_STATISTICS_MOMENTUM = 0.03
_SMOOTHED = 0.98  # share of the earlier losses in the curve's
_CURVE_POINTS = 200
_LOG_EVERY = 50


def usable_device(name: str | None) -> torch.device:
    """The device of that name; ``None``: a CUDA device if there is one, else the CPU.

    Raises:
        OptionError: this machine, or this build of torch, has no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    have = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not have.get(name, False):
        usable = ", ".join(kind for kind, there in have.items() if there)
        raise OptionError(f"{name} cannot be used here", subject="device", hint=f"usable are {usable}")
    return torch.device(name)


def _unsaid(_: object) -> None:
    """Left out by processes other than the first."""


class Trainer:
    """Runs the three phases; :meth:`run` returns the trained state dict.

    Args:
        elastic: the supernet.
        images: uint8 ``[n, 3, s, s]``, at least as large as the largest image size.
        labels: int64 ``[n]``.
        mean, std: per channel, of pixels scaled to 0..1.
        recipe: the parameters.
        checkpoint: file of the state; an existing one is resumed.
        origin: names the initial weights and the images; a checkpoint of another origin is refused.
        log: called with a line when a run resumes, and every 50 steps.
        on_step: called after every step.
        teacher: returns logits for images of the given side.
        side: of the images that subnets scale to their own sizes, and a teacher takes; the largest image size
            unless given.
        device: "cpu", "cuda" or "mps"; ``None``: a CUDA device if there is one.
        checkpoint_every_s: longest time between two checkpoints, seconds.
        ranks: the processes that train together; the first reads and writes the checkpoint, and only it logs.
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
        on_step: Callable[[Step], None] | None = None,
        teacher: nn.Module | None = None,
        side: int | None = None,
        device: str | None = None,
        checkpoint_every_s: float = 45.0,
        ranks: Ranks = ALONE,
    ) -> None:
        self.elastic, self.recipe, self.ranks = elastic, recipe, ranks
        self.checkpoints = Checkpoints(checkpoint, recipe, origin)
        self.checkpoint_every_s = checkpoint_every_s
        self.log = log if ranks.first else _unsaid
        self.on_step = on_step if on_step is not None and ranks.first else _unsaid
        self.device = usable_device(device)
        torch.backends.cudnn.deterministic = True  # no slower here
        self.net = elastic.net.to(self.device).to(memory_format=torch.channels_last)
        self.rng = np.random.default_rng(recipe.seed)
        self.batches = Batches(
            images,
            labels,
            mean=mean,
            std=std,
            size=recipe.batch_size,
            side=side or max(elastic.image_sizes),
            augmentation=recipe.augmentation,
            rng=self.rng,
            device=self.device,
            part=ranks.part(recipe.batch_size),
        )
        self.schedule = Schedule(recipe=recipe, images=len(labels))
        self.phase_steps = self.schedule.phase_steps
        self.step = 0
        self.begun: tuple[Any, np.ndarray[Any, Any]] | None = None
        self.elapsed_s = 0.0
        self.loss: float | None = None
        self.curve: list[CurvePoint] = []
        self.times = StepTimes(self.phase_steps)
        self.pointwise = normalised_pointwise(self.net) if recipe.muon_lr else []
        self.muon = Muon(self.pointwise, momentum=recipe.momentum) if self.pointwise else None
        weights = None
        if recipe.balance:
            classes = self.head[0].shape[0]
            weights = torch.from_numpy(class_weights(labels, classes, recipe.balance)).to(self.device)
        self.passes = Passes(
            elastic,
            device=self.device,
            teacher=teacher,
            recipe=recipe,
            class_weights=weights,
            written=lambda: self.muon.written() if self.muon is not None else [],
            ranks=ranks,
        )
        self.optimizer = torch.optim.SGD(
            self._groups(), lr=recipe.peak_lr, momentum=recipe.momentum, nesterov=True
        )
        for net in (self.net, *([] if teacher is None else [teacher])):
            ranks.share([*net.parameters(), *net.buffers()])

    def _groups(self) -> list[dict[str, Any]]:
        """The parameters by weight decay and factor of the learning rate."""
        head = {id(p) for p in self.head} if self.recipe.head_lr_factor != 1.0 else set()
        groups = []
        for of_head, factor in ((False, 1.0), (True, self.recipe.head_lr_factor)):
            for decayed in (True, False):
                chosen = [
                    p for p in self.net.parameters() if (id(p) in head) == of_head and (p.ndim > 1) == decayed
                ]
                decay = self.recipe.weight_decay if decayed else 0.0
                if chosen:
                    groups.append({"params": chosen, "weight_decay": decay, "lr_factor": factor})
        return groups

    @property
    def head(self) -> list[nn.Parameter]:
        """The classifier: parameters of the last linear layer, its weight first."""
        linear = [module for module in self.net.modules() if isinstance(module, nn.Linear)]
        return list(linear[-1].parameters())

    @property
    def device_name(self) -> str:
        """``cpu``, or the name of the GPU."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)

    # -- state ---------------------------------------------------------------------------------

    def save(self, *, steady: bool = False) -> None:
        """Write the whole state, that before the step that is not finished; the first process does.

        Args:
            steady: keep it beside the checkpoint, as the state before the learning rate decays.

        Raises:
            OutputError: the file cannot be written; the one before stays.
        """
        if not self.ranks.first:
            return
        rng, order = self.begun or (self.rng.bit_generator.state, self.batches.order)
        state = {
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "rng": json.dumps(rng),
            "order": torch.from_numpy(order),
            "state_dict": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "muon": {} if self.muon is None else self.muon.optimizer.state_dict(),
            "curve": json.dumps([self.loss, [asdict(point) for point in self.curve]]),
        }
        self.checkpoints.write(state, steady=steady)

    def resume(self) -> None:
        """Continue from the checkpoint, if there is one, or from the steady state of a shorter run."""
        state = self.ranks.told(lambda: self.checkpoints.found(self.schedule.decay_start))
        if state is None:
            return
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.batches.order = state["order"].numpy()
        # In place: OFA's load_state_dict renames keys and does not accept its own names.
        own = dict(self.net.named_parameters()) | dict(self.net.named_buffers())
        with torch.no_grad():
            for name, value in state["state_dict"].items():
                own[name].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.muon is not None:
            self.muon.optimizer.load_state_dict(state["muon"])
        self.loss, points = json.loads(state["curve"])
        self.curve = [CurvePoint(**point) for point in points]
        self.log(f"resumed at step {self.step}")

    # -- phases --------------------------------------------------------------------------------

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
        if phase == FROZEN:
            for norm in self.passes.norms:
                norm.eval()
        lr = self.schedule.learning_rate(self.step)
        x, labels = self.batches.next(whole=phase == FROZEN)
        self.optimizer.zero_grad(set_to_none=not self.passes.replay.records)
        largest = dict(self.elastic.largest)
        if phase == LARGEST:
            largest["image_size"] = int(self.rng.choice(self.elastic.image_sizes, p=self.size_weights()))
        elif self.recipe.every_size:
            largest["image_size"] = self._any_size()
        target = self.passes.targets(x, labels)
        loss, logits = self.passes.learn(x, target, labels, largest)
        if phase != LARGEST:
            if target is labels:
                target = logits.softmax(1)
            smallest = dict(self.elastic.smallest)
            if self.recipe.every_size:
                smallest["image_size"] = self._any_size()
            for architecture in (smallest, self.elastic.sample(self.rng)):
                self.passes.learn(x, target, labels, architecture)
        self.ranks.average([*(p.grad for p in self.net.parameters() if p.grad is not None), loss])

        def prepare() -> tuple[torch.Tensor, ...]:
            nn.utils.clip_grad_norm_(self.net.parameters(), _CLIPPED_NORM)
            if phase != FROZEN and self.muon is not None:
                self.muon.orthogonalise()
            return ()

        self.passes.replay(("prepare", phase), prepare)
        self.take_step(lr, joint=phase != FROZEN)
        return loss

    def take_step(self, lr: float, *, joint: bool) -> None:
        """Step the pointwise weights with Muon and the others with SGD; unless ``joint``, all with SGD."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_factor"]
        if not joint or self.muon is None:
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

    def _any_size(self) -> int:
        return int(self.rng.choice(self.elastic.image_sizes))

    def size_weights(self) -> list[float]:
        """Probability of each image size; unless all are alike, 0.5 for the largest, the rest shared."""
        others = len(self.elastic.image_sizes) - 1
        if self.recipe.every_size:
            return [1.0 / (1 + others)] * (1 + others)
        top = max(self.elastic.image_sizes)
        return [0.5 if s == top else 0.5 / others for s in self.elastic.image_sizes] if others else [1.0]

    def run(self) -> dict[str, torch.Tensor]:
        """Run all three phases, or the rest after a checkpoint; returns a copy of the state dict.

        Raises:
            OptionError: there is too little memory.
            MismatchError, RecordError: of the checkpoint.
        """
        self.resume()
        try:
            if self.step < sum(self.phase_steps.values()):
                self.measure_steps()
                self.log(
                    f"about {max(1.0, (self.times.remaining_s(self.step) or 0.0) / 60):.0f} min of training"
                )
            self._run()
        except KeyboardInterrupt:
            with uninterrupted(self.ranks):
                self.save()
            raise
        except RuntimeError as error:
            if "memory" not in str(error):
                raise
            raise OptionError(
                f"{self.recipe.batch_size} images need more memory than there is",
                subject="batch_size",
                hint="use a smaller one, or smaller `image_sizes`",
            ) from error
        return copy.deepcopy(self.net.state_dict())

    def _run(self) -> None:
        total = sum(self.phase_steps.values())
        saved = time.monotonic()
        every = max(1, total // _CURVE_POINTS)
        while self.step < total:
            phase = self.schedule.phase(self.step)
            if self.step == self.schedule.decay_start:
                self.save(steady=True)
            began = time.monotonic()
            if phase == FROZEN and self.step == self.schedule.joint_steps:
                self.save()
                self.gather_statistics()
            self.begun = (copy.deepcopy(self.rng.bit_generator.state), self.batches.order)
            loss = self.train_step(phase)
            self.step, self.begun = self.step + 1, None
            now = time.monotonic()
            self.elapsed_s += now - began
            self.times.note(phase, now - began)
            if self.step % every == 0 or self.step == total or self.device.type == "cpu":
                self._noted(phase, float(loss), curve=self.step % every == 0 or self.step == total)
            left = self.times.remaining_s(self.step)
            self.on_step(Step(done=self.step, total=total, phase=phase, remaining_s=left))
            if self.step % _LOG_EVERY == 0 or self.step == total:
                self.log(
                    f"{phase} step {self.step}/{total} loss {self.loss or 0.0:.3f} "
                    f"lr {self.schedule.learning_rate(self.step):.4f} elapsed {self.elapsed_s:.0f}s"
                )
            if now - saved > self.checkpoint_every_s or self.step == total:
                self.save()
                saved = time.monotonic()

    def _noted(self, phase: str, loss: float, *, curve: bool) -> None:
        self.loss = loss if self.loss is None else _SMOOTHED * self.loss + (1.0 - _SMOOTHED) * loss
        if curve:
            self.curve.append(
                CurvePoint(
                    step=self.step,
                    phase=phase,
                    loss=self.loss,
                    learning_rate=self.schedule.learning_rate(self.step),
                    elapsed_s=self.elapsed_s,
                )
            )

    def measure_steps(self) -> dict[str, float]:
        """Time of a step in each phase that has any, seconds, without training anything.

        The mean over the image sizes of passes that learn; the state of the run is as it was.
        """
        state, order = copy.deepcopy(self.rng.bit_generator.state), self.batches.order
        buffers = [buffer.clone() for buffer in self.net.buffers()]
        self.net.train()
        sizes = self.elastic.image_sizes
        drawn: dict[int, list[float]] = {}
        for warm in (True, False):
            for size in sizes[:1] if warm else sizes:
                x, labels = self.batches.next()
                times = []
                for architecture in (
                    self.elastic.largest,
                    self.elastic.smallest,
                    self.elastic.sample(self.rng),
                ):
                    began = time.monotonic()
                    self.passes.learn(
                        x, self.passes.targets(x, labels), labels, {**architecture, "image_size": size}
                    )
                    times.append(time.monotonic() - began)
                drawn[size] = times
        self.optimizer.zero_grad(set_to_none=not self.passes.replay.records)
        with torch.no_grad():
            for buffer, value in zip(self.net.buffers(), buffers, strict=True):
                buffer.copy_(value)
        self.rng.bit_generator.state, self.batches.order = state, order
        weights = self.size_weights()
        largest = sum(weight * drawn[size][0] for weight, size in zip(weights, sizes, strict=True))
        joint = float(np.mean([times[2] for times in drawn.values()]))
        if self.recipe.every_size:
            joint += largest + float(np.mean([times[1] for times in drawn.values()]))
        else:
            joint += drawn[sizes[-1]][0] + drawn[sizes[0]][1]
        self.times.step_s = {"largest": largest, "sandwich": joint, "frozen": joint}
        return dict(self.times.step_s)

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
