import pytest

from deploy_nas.core.recipe import Recipe
from deploy_nas.training.schedule import FROZEN, LARGEST, SANDWICH, Schedule

# 64 images, 32 a batch: 2 steps an epoch.
SCHEDULE = Schedule(
    recipe=Recipe(
        largest_epochs=2,
        sandwich_epochs=3,
        decay_epochs=2,
        frozen_steps=4,
        batch_size=32,
        peak_lr=1.0,
        frozen_lr=0.1,
        warmup_steps=2,
    ),
    images=64,
)


def test_phases_follow_each_other():
    assert SCHEDULE.phase_steps == {LARGEST: 4, SANDWICH: 6, FROZEN: 4}
    phases = [SCHEDULE.phase(step) for step in range(14)]
    assert phases == [LARGEST] * 4 + [SANDWICH] * 6 + [FROZEN] * 4


def test_the_learning_rate_rises_stays_falls_and_falls_again():
    rates = [SCHEDULE.learning_rate(step) for step in range(14)]
    assert SCHEDULE.decay_start == 6
    assert rates[:7] == [0.5] + [1.0] * 6
    assert rates[7:10] == pytest.approx([0.75, 0.5, 0.25])
    assert rates[10] == pytest.approx(0.1) and rates[10:] == sorted(rates[10:], reverse=True)
