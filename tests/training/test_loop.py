from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deploy_nas.core.errors import MismatchError, OptionError
from deploy_nas.core.recipe import Augmentation, Recipe
from deploy_nas.training.loop import Trainer
from deploy_nas.training.muon import normalised_pointwise
from deploy_nas.training.passes import Elastic

pytestmark = pytest.mark.slow

RECIPE = Recipe(
    largest_epochs=3,
    sandwich_epochs=3,
    decay_epochs=2,
    frozen_steps=10,
    statistics_batches=4,
    batch_size=32,
    warmup_steps=4,
    augmentation=Augmentation(cutout_pixels=4),
)


class Toy(nn.Module):
    """Two channels' worth of elastic width over real pixels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.mix = nn.Conv2d(8, 8, 1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 2)
        self.width = 8

    def forward(self, x):
        x = torch.relu(self.bn(self.mix(self.conv(x))))
        mask = (torch.arange(8, device=x.device) < self.width).float()[None, :, None, None]
        return self.head((x * mask).mean((2, 3)))


def elastic():
    torch.manual_seed(0)
    net = Toy()
    return Elastic(
        net=net,
        activate=lambda a: setattr(net, "width", a["width"]),
        sample=lambda rng: {"width": int(rng.choice([4, 8])), "image_size": int(rng.choice([12, 16]))},
        smallest={"width": 4, "image_size": 12},
        largest={"width": 8, "image_size": 16},
        image_sizes=(12, 16),
    )


def data():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    images = rng.integers(0, 120, (200, 3, 16, 16), dtype=np.uint8)
    images[labels == 1, 0] += 100  # class 1 is redder
    return images, labels


def trainer(checkpoint: Path, **changes):
    images, labels = data()
    values = {
        "mean": (0.5,) * 3,
        "std": (0.25,) * 3,
        "recipe": RECIPE,
        "origin": "made up",
        "log": lambda line: None,
    }
    return Trainer(elastic(), images, labels, checkpoint=checkpoint, **{**values, **changes})


class StopError(Exception):
    pass


def test_epochs_are_how_often_each_image_is_seen(tmp_path):
    taken = trainer(tmp_path / "c.pt").phase_steps
    assert RECIPE.epochs(200) == sum(taken.values()) / 7  # batches of 32


def test_learns_and_small_subnets_work_without_recalibration(tmp_path):
    one = trainer(tmp_path / "a.pt")
    one.run()
    images, labels = data()
    assert one.accuracy(one.elastic.largest, images, labels) > 90
    assert one.accuracy(one.elastic.smallest, images, labels) > 90


@pytest.mark.parametrize("stop_at", [20, 45])
def test_a_stopped_run_ends_as_an_unbroken_one(tmp_path, stop_at):
    whole = trainer(tmp_path / "whole.pt").run()
    broken = trainer(tmp_path / "broken.pt", checkpoint_every_s=0.0)
    step, count = broken.train_step, [0]

    def stopping(phase):
        count[0] += 1
        if count[0] == stop_at:
            raise StopError
        return step(phase)

    broken.train_step = stopping
    with pytest.raises(StopError):
        broken.run()
    resumed = trainer(tmp_path / "broken.pt").run()
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)


def test_a_longer_run_goes_on_from_before_the_decay(tmp_path):
    longer = replace(RECIPE, sandwich_epochs=5)
    whole = trainer(tmp_path / "whole.pt", recipe=longer).run()
    trainer(tmp_path / "a.pt").run()
    said = []
    resumed = trainer(tmp_path / "a.pt", recipe=longer, log=said.append).run()
    assert said[0] == "resumed at step 28"  # 7 steps an epoch: the fourth of six ends there
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)


def test_a_shorter_run_or_another_decay_does_not(tmp_path):
    trainer(tmp_path / "a.pt").run()
    for changes in ({"sandwich_epochs": 2}, {"sandwich_epochs": 5, "decay_epochs": 1}):
        with pytest.raises(MismatchError, match="another recipe"):
            trainer(tmp_path / "a.pt", recipe=replace(RECIPE, **changes)).run()


def test_muon_takes_only_what_a_norm_follows():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.before = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
            self.reduce = nn.Conv2d(8, 2, 1, bias=False)
            self.relu = nn.ReLU()
            self.expand = nn.Conv2d(2, 8, 1)
            self.last = nn.BatchNorm2d(8)

    gate = Gate()
    assert [id(p) for p in normalised_pointwise(gate)] == [id(gate.before[0].weight)]


class Teacher(nn.Module):
    """Sure of the class by how red the picture is."""

    def forward(self, x):
        red = x[:, 0].mean((1, 2)) - x[:, 1].mean((1, 2))
        return torch.stack([2.0 - 4.0 * red, 4.0 * red - 2.0], 1)


def test_with_a_teacher_its_answers_are_learnt_and_not_the_labels(tmp_path):
    one = trainer(tmp_path / "a.pt", teacher=Teacher())
    one.batches.labels = 1 - one.batches.labels  # wrong, all of them
    one.run()
    images, labels = data()
    assert one.accuracy(one.elastic.largest, images, labels) > 90
    assert one.accuracy(one.elastic.smallest, images, labels) > 90


def test_the_last_phase_sees_whole_pictures(tmp_path):
    one = trainer(tmp_path / "a.pt")
    seen = []
    step = one.passes.learn

    one.measure_steps = dict

    def seeing(x, target, labels, architecture):
        seen.append((one.schedule.phase(one.step), bool((x == 0).any())))
        return step(x, target, labels, architecture)

    one.passes.learn = seeing
    one.run()
    assert set(seen) == {("largest", True), ("sandwich", True), ("frozen", False)}


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    trainer(tmp_path / "a.pt").save()
    other = trainer(tmp_path / "a.pt", recipe=Recipe(seed=5))
    with pytest.raises(MismatchError, match="another recipe"):
        other.run()


FINE = replace(
    RECIPE, muon_lr=0.0, head_lr_factor=5.0, every_size=True, balance=0.5, largest_epochs=2, sandwich_epochs=2
)


def test_without_muon_and_with_a_quicker_classifier_it_learns_at_every_size(tmp_path):
    one = trainer(tmp_path / "a.pt", recipe=FINE)
    assert one.muon is None
    rates = {group["lr_factor"] for group in one.optimizer.param_groups}
    head = [g for g in one.optimizer.param_groups if g["lr_factor"] == 5.0]
    assert rates == {1.0, 5.0} and sum(len(g["params"]) for g in head) == 2
    seen = []
    learn = one.passes.learn
    one.passes.learn = lambda *a: seen.append(a[3]["image_size"]) or learn(*a)
    one.run()
    assert {12, 16} == set(seen) and 0.3 < np.mean(np.array(seen) == 12) < 0.7
    images, labels = data()
    assert one.accuracy(one.elastic.largest, images, labels) > 90


def test_time_left_is_known_from_the_first_step_and_falls(tmp_path):
    left = []
    one = trainer(tmp_path / "a.pt", on_step=left.append)
    one.run()
    total = sum(one.phase_steps.values())
    assert [s.done for s in left] == list(range(1, total + 1)) and {s.total for s in left} == {total}
    assert left[0].remaining_s > left[-1].remaining_s == 0.0


def test_measuring_steps_leaves_the_run_as_it_was(tmp_path):
    measured = trainer(tmp_path / "a.pt")
    measured.measure_steps()
    unmeasured = trainer(tmp_path / "b.pt")
    unmeasured.measure_steps = dict
    one, other = measured.run(), unmeasured.run()
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert all(value > 0 for value in measured.times.step_s.values())


def test_the_curve_is_kept_with_the_checkpoint(tmp_path):
    one = trainer(tmp_path / "a.pt")
    one.run()
    assert [p.step for p in one.curve] == list(range(1, sum(one.phase_steps.values()) + 1))
    assert one.curve[-1].loss < one.curve[0].loss and one.curve[-1].phase == "frozen"
    again = trainer(tmp_path / "a.pt")
    again.resume()
    assert again.curve == one.curve and again.elapsed_s == one.elapsed_s


def test_ctrl_c_keeps_the_last_step(tmp_path):
    one = trainer(tmp_path / "a.pt")
    step, count = one.train_step, [0]

    def stopping(phase):
        count[0] += 1
        if count[0] == 12:
            raise KeyboardInterrupt
        return step(phase)

    one.train_step = stopping
    with pytest.raises(KeyboardInterrupt):
        one.run()
    again = trainer(tmp_path / "a.pt")
    again.resume()
    assert again.step == 11


def test_too_little_memory_is_one_clear_error(tmp_path):
    one = trainer(tmp_path / "a.pt")

    def failing(phase):
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")

    one.train_step = failing
    with pytest.raises(OptionError, match="batch_size: 32 images need more memory than there is"):
        one.run()
