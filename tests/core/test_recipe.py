"""Recipes and augmentations as values, and as files keep them."""

from dataclasses import replace

import pytest

from deploy_nas.core.errors import OptionError, RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.recipe import PHOTOGRAPHS, Augmentation, Recipe


def test_a_recipe_comes_back_from_its_file() -> None:
    recipe = replace(Recipe(seed=3, every_size=True, balance=0.5), augmentation=PHOTOGRAPHS)
    assert Recipe.from_json(Fields(recipe.to_json(), "r")) == recipe


def test_what_a_file_lacks_has_its_default_and_earlier_files_are_read() -> None:
    assert Recipe.from_json(Fields({}, "r")) == Recipe()
    old = Recipe.from_json(Fields({"cutout_pixels": 4, "peak_lr": 0.3}, "r"))
    assert old == Recipe(peak_lr=0.3, augmentation=Augmentation(cutout_pixels=4))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"peak_lr": "0.1"}, "'peak_lr' must be a finite number"),
        ({"batch_size": 3.5}, "'batch_size' must be a whole number"),
        ({"every_size": 1}, "'every_size'"),
        ({"augmentation": {"flip": "no"}}, "'flip'"),
    ],
)
def test_a_wrong_value_is_named(value: dict[str, object], said: str) -> None:
    with pytest.raises(RecordError, match=said):
        Recipe.from_json(Fields(value, "r"))


def test_an_augmentation_that_makes_no_sense_is_refused() -> None:
    for changes in ({"least_area": 0.0}, {"least_area": 1.5}, {"colour": 1.0}, {"shift_pixels": -1}):
        with pytest.raises(OptionError, match="augmentation"):
            Augmentation(**changes)


def test_epochs_count_all_phases() -> None:
    recipe = Recipe(largest_epochs=2, sandwich_epochs=3, frozen_steps=10, batch_size=20)
    assert recipe.epochs(100) == 7
