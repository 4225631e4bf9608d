import dataclasses

import numpy as np
import pytest

from deploy_nas.adapters.graphs import build_model, weight_tensors
from deploy_nas.core.errors import ImagesError, RecordError
from deploy_nas.core.spaces import get_space
from deploy_nas.deploy.top1 import Top1, measure_top1
from deploy_nas.device.session import open_session, random_initializers

SPACE = get_space("ofa-mbv3-cifar10")


@dataclasses.dataclass
class Images:
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


def model(batch, **metadata):
    layers = SPACE.layers(SPACE.smallest(24))
    weights = random_initializers(weight_tensors(layers), np.random.default_rng(0))
    how = {"image_size": 24, "mean": list(SPACE.mean), "std": list(SPACE.std)}
    return build_model(layers, weights, metadata={"preprocessing": how, **metadata}, batch=batch)


@pytest.fixture
def given(rng):
    """Images labelled by the model itself, but for the first three."""
    from deploy_nas.adapters.images import preprocess

    pixels = rng.integers(0, 256, (30, 3, 32, 32), dtype=np.uint8)
    x = preprocess(pixels, 24, SPACE.mean, SPACE.std)
    labels = open_session(model(None)).run(None, {"image": x})[0].argmax(axis=1)
    labels[:3] = (labels[:3] + 1) % 10
    return Images(pixels, labels, tuple("abcdefghij"))


@pytest.mark.parametrize("batch", [1, 7, None])
def test_every_image_counts_once_whatever_the_batch(given, batch):
    found = measure_top1(model(batch), given)
    assert (found.right, found.images, found.percent) == (27, 30, 90.0)
    low, high = found.interval_percent
    assert low == pytest.approx(74.38, abs=0.01) and high == pytest.approx(96.54, abs=0.01)


def test_other_classes_are_refused(given):
    with pytest.raises(ImagesError, match="9 class folders"):
        measure_top1(model(1), dataclasses.replace(given, classes=tuple("abcdefghi")))
    with pytest.raises(ImagesError, match="'b' is none of the model's classes"):
        measure_top1(model(1, labels=list("axcdefghij")), given)
    assert measure_top1(model(1, labels=list("abcdefghij")), given).right == 27


def test_classes_go_by_name_whatever_the_models_order(given):
    backwards = dataclasses.replace(given, labels=9 - given.labels)
    assert measure_top1(model(1, labels=list("jihgfedcba")), backwards).right == 27


@pytest.mark.parametrize(
    "how",
    [
        None,
        [1],
        {"image_size": 24, "mean": [0.5, 0.5], "std": [1, 1]},
        {"image_size": 24, "mean": "abc", "std": [1, 1, 1]},
        {"image_size": 24, "mean": [0, 0, 0], "std": [1, 0, 1]},
        {"image_size": -24, "mean": [0, 0, 0], "std": [1, 1, 1]},
    ],
)
def test_a_file_that_does_not_say_how_is_refused(given, how):
    with pytest.raises(RecordError, match="prepared"):
        measure_top1(model(1, preprocessing=how), given)


def test_labels_that_are_no_names_are_refused(given):
    with pytest.raises(RecordError, match="labels"):
        measure_top1(model(1, labels=5), given)


def test_interval_of_all_right():
    low, high = Top1(right=50, images=50).interval_percent
    assert 92 < low < 93 and high == pytest.approx(100.0)
