"""How a training goes: the points of its curve, the steps taken, and the time left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_KEPT = 0.9  # share of the earlier steps in a phase's time


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """The state of a run after a step.

    Args:
        step: steps taken.
        phase: of that step.
        loss: of the largest subnet, averaged over the last steps.
        learning_rate: of the next step.
        elapsed_s: time of training so far.
    """

    step: int
    phase: str
    loss: float
    learning_rate: float
    elapsed_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One more step: how many are done, of how many, and the time left; ``None`` while it is unknown."""

    done: int
    total: int
    phase: str
    remaining_s: float | None


class StepTimes:
    """Times of steps by phase, and the time of those that are left.

    Args:
        phase_steps: steps of each phase, in order.
    """

    def __init__(self, phase_steps: Mapping[str, int]) -> None:
        self.phase_steps = phase_steps
        self.step_s: dict[str, float] = {}

    def note(self, phase: str, seconds: float) -> None:
        """Take a step's time into the estimate."""
        known = self.step_s.get(phase)
        self.step_s[phase] = seconds if known is None else _KEPT * known + (1.0 - _KEPT) * seconds

    def remaining_s(self, step: int) -> float | None:
        """Estimated time of the steps after ``step``, seconds; ``None`` before any was timed."""
        if not self.step_s:
            return None
        slowest = max(self.step_s.values())
        left, begin = 0.0, 0
        for phase, steps in self.phase_steps.items():
            end = begin + steps
            left += max(0, end - max(begin, step)) * self.step_s.get(phase, slowest)
            begin = end
        return left
