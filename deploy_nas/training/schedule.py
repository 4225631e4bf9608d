"""The steps of a recipe's phases, and the learning rate of each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deploy_nas.core.recipe import Recipe

LARGEST, SANDWICH, FROZEN = "largest", "sandwich", "frozen"


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When a training does what.

    Args:
        recipe: the parameters.
        images: number of images to train on.
    """

    recipe: Recipe
    images: int

    @property
    def phase_steps(self) -> dict[str, int]:
        """Steps of each phase, in order."""
        steps = math.ceil(self.images / self.recipe.batch_size)
        return {
            LARGEST: round(self.recipe.largest_epochs * steps),
            SANDWICH: round(self.recipe.sandwich_epochs * steps),
            FROZEN: self.recipe.frozen_steps,
        }

    @property
    def joint_steps(self) -> int:
        """Steps of the first two phases."""
        return self.phase_steps[LARGEST] + self.phase_steps[SANDWICH]

    @property
    def decay_start(self) -> int:
        """The step at which the learning rate begins to fall."""
        steps = math.ceil(self.images / self.recipe.batch_size)
        return max(0, self.joint_steps - round(self.recipe.decay_epochs * steps))

    def phase(self, step: int) -> str:
        """The phase of a step, from 0."""
        if step < self.phase_steps[LARGEST]:
            return LARGEST
        return SANDWICH if step < self.joint_steps else FROZEN

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, constant, then linear decay over the first two phases; cosine over the last."""
        recipe, joint = self.recipe, self.joint_steps
        left = joint - step
        if left > 0:
            warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
            return recipe.peak_lr * warm * max(0.005, min(1.0, left / max(1, joint - self.decay_start)))
        done = -left / max(1, self.phase_steps[FROZEN])
        return recipe.frozen_lr * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
