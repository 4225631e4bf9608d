"""Plans as data: what each kind of image and each request gets."""

import re

import pytest

from deploy_nas.core.errors import OptionError
from deploy_nas.training.plans import EMBEDDED, augmentation_for, balance_for, fine_tuning, tuning


def test_small_images_are_shifted_and_photographs_are_cut() -> None:
    assert augmentation_for(32).shift_pixels > 0 and augmentation_for(32).least_area == 1.0
    photographs = augmentation_for(224, flip=False)
    assert photographs.least_area < 1.0 and photographs.colour > 0 and not photographs.flip


def test_only_very_unequal_classes_are_balanced() -> None:
    assert balance_for([100, 20]) == 0.0 and balance_for([1000, 10]) == 0.5 and balance_for([30, 0]) == 0.5


def test_epochs_are_shared_between_largest_and_all() -> None:
    (recipe,) = fine_tuning(images=320, epochs=10, augmentation=augmentation_for(96)).stretches
    assert (recipe.largest_epochs, recipe.sandwich_epochs, recipe.frozen_steps) == (2.0, 8.0, 10)
    larger = fine_tuning(images=320, epochs=10, batch_size=64, augmentation=augmentation_for(96)).stretches[0]
    assert larger.peak_lr == 2 * recipe.peak_lr


def test_one_subnet_is_taught_by_another_and_by_the_labels() -> None:
    recipe = tuning(images=320, epochs=4, augmentation=augmentation_for(96))
    assert (recipe.largest_epochs, recipe.sandwich_epochs) == (4, 0) and 0 < recipe.teacher_share < 1


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("epochs", float("nan")), ("batch_size", 1)])
def test_numbers_out_of_range_are_refused(name: str, value: float) -> None:
    options = {"images": 10, "epochs": 1, "augmentation": augmentation_for(32), name: value}
    with pytest.raises(OptionError, match=re.escape(name)):
        fine_tuning(**options)


def test_a_seed_reaches_every_recipe() -> None:
    seeded = EMBEDDED.seeded(5)
    assert [recipe.seed for recipe in seeded.stretches] == [5, 6] and seeded.teacher.seed == 5
