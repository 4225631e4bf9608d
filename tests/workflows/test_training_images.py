"""Images to train on and to judge by."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy_nas.adapters.images import ImageSet
from deploy_nas.core.errors import ImagesError
from deploy_nas.core.spaces import get_space
from deploy_nas.workflows.training_images import (
    held_out_split,
    image_sizes_for,
    look_at,
    read_images,
    split,
)

SPACE = get_space("ofa-mbv3-cifar10@3@20+24")


def draw(folder: Path, counts: dict[str, int], side: int = 24) -> Path:
    rng = np.random.default_rng(len(counts))
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 255, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_the_split_takes_a_share_of_every_class_and_keeps_single_images_for_training() -> None:
    labels = np.repeat(np.arange(4), [100, 20, 2, 1])
    training, held_out = split(labels, 4)
    assert sorted([*training, *held_out]) == list(range(123)) and split(labels, 4) == (training, held_out)
    assert np.bincount(labels[held_out], minlength=4).tolist() == [15, 3, 1, 0]


def test_of_many_images_no_more_than_5000_are_held_out() -> None:
    _, held_out = split(np.repeat(np.arange(10), 20_000), 10)
    assert len(held_out) == 5000


def test_image_sizes_follow_the_images() -> None:
    base = get_space("efficientnet-lite0")
    assert image_sizes_for(base, 1000) == (96, 128, 160, 192, 224)
    assert image_sizes_for(base, 192) == (96, 112, 128, 144, 160)
    assert image_sizes_for(base, 224) == (96, 112, 128, 160, 176)
    assert image_sizes_for(base, 32) == (96,)
    assert image_sizes_for(get_space("ofa-mbv3-cifar10"), 32) == (20, 24, 28, 32)


def test_own_validation_images_are_out_of_training(tmp_path: Path) -> None:
    folder = draw(tmp_path / "i", {"a": 10, "b": 8, "c": 7})
    found = read_images(folder, SPACE)
    assert found.own_split and len(found.training) + len(found.validation) == 25
    assert set(found.validation.by_size) == {20, 24}
    held_out = {image.tobytes() for image in found.validation.by_size[24].images}
    assert not held_out & {image.tobytes() for image in found.training.images}


def test_a_validation_set_must_have_the_same_classes(tmp_path: Path) -> None:
    folder = draw(tmp_path / "i", {"a": 3, "b": 3, "c": 3})
    same = read_images(folder, SPACE, draw(tmp_path / "v", {"a": 1, "b": 1, "c": 1}))
    assert not same.own_split and len(same.training) == 9 and len(same.validation) == 3
    with pytest.raises(ImagesError, match="class 'd' is not in the training images"):
        read_images(folder, SPACE, draw(tmp_path / "w", {"a": 1, "b": 1, "c": 1, "d": 1}))
    with pytest.raises(ImagesError, match="has no images of class 'c'"):
        read_images(folder, SPACE, draw(tmp_path / "x", {"a": 1, "b": 1}))


def test_images_that_leave_nothing_to_learn_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImagesError, match="holds one class, 'a': there is nothing to tell apart"):
        look_at(draw(tmp_path / "one", {"a": 3}))
    with pytest.raises(ImagesError, match=re.escape("3 images are too few to judge by; name `validation`")):
        read_images(draw(tmp_path / "few", {"a": 1, "b": 1, "c": 1}), SPACE)
    with pytest.raises(ImagesError, match="does not exist"):
        look_at(tmp_path / "gone")


def test_the_embedded_split_is_always_the_same() -> None:
    images = ImageSet(
        images=np.zeros((20, 3, 2, 2), dtype=np.uint8), labels=np.arange(20), classes=("a",), source="made up"
    )
    training, held_out = held_out_split(images, 5)
    assert len(training) == 15 and held_out.labels.tolist() == held_out_split(images, 5)[1].labels.tolist()
    with pytest.raises(ImagesError, match="made up: 20 images, but 5000 are held out"):
        held_out_split(images)
