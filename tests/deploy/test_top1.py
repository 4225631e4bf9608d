"""Top-1 of a file on labelled images: every image once, classes by name, and what a file must say."""

import dataclasses
import unicodedata

import numpy as np
import pytest

from deploy_nas.adapters import images
from deploy_nas.adapters.images import ReadingReport, preprocess
from deploy_nas.core.errors import ImagesError, MismatchError, RecordError
from deploy_nas.core.measured import Top1
from deploy_nas.core.spaces import embedded_space
from deploy_nas.deploy import top1
from deploy_nas.deploy.model_file import parse_model_file
from deploy_nas.deploy.top1 import labels_of, measure_top1, predict
from deploy_nas.device.runtime import first_output
from deploy_nas.device.session import open_session

SPACE = embedded_space()
REPORT = ReadingReport(used=30, turned=2, classes=10)


@dataclasses.dataclass
class Images:
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    report: ReadingReport = REPORT


@pytest.fixture
def model(model_data):
    return lambda batch=1, **said: parse_model_file(model_data(batch, **said), "m.onnx")


@pytest.fixture
def given(rng, model_data):
    """Images labelled by the model itself, but for the first three."""
    pixels = rng.integers(0, 256, (30, 3, 32, 32), dtype=np.uint8)
    x = preprocess(pixels, 24, SPACE.mean, SPACE.std)
    labels = first_output(open_session(model_data(None)), x).argmax(axis=1)
    labels[:3] = (labels[:3] + 1) % 10
    return Images(pixels, labels, tuple("abcdefghij"))


@pytest.mark.parametrize("batch", [1, 7, None])
def test_every_image_counts_once_whatever_the_batch(given, model, batch):
    found = measure_top1(model(batch), given)
    assert (found.right, found.images, found.percent) == (27, 30, 90.0)
    low, high = found.interval_percent
    assert low == pytest.approx(74.38, abs=0.01) and high == pytest.approx(96.54, abs=0.01)


def test_classes_of_prepared_images_are_those_of_the_logits(given, model_data):
    x = preprocess(given.images, 24, SPACE.mean, SPACE.std)
    for fused in (True, False):
        assert (predict(model_data(7), x, fused=fused)[3:] == given.labels[3:]).all()


def test_other_classes_are_refused(given, model):
    with pytest.raises(ImagesError, match=r"images: 9 class folders, the model has 10 .* does not name them"):
        measure_top1(model(1), dataclasses.replace(given, classes=tuple("abcdefghi")))
    with pytest.raises(ImagesError, match="images: 0 class folders"):
        measure_top1(model(1), dataclasses.replace(given, classes=()))
    with pytest.raises(ImagesError, match="'b' is not one of the model's classes"):
        measure_top1(model(1, labels=list("axcdefghij")), given)
    assert measure_top1(model(1, labels=list("abcdefghij")), given).right == 27


def test_classes_go_by_name_whatever_the_models_order(given, model):
    backwards = dataclasses.replace(given, labels=9 - given.labels)
    assert measure_top1(model(1, labels=list("jihgfedcba")), backwards).right == 27


def test_some_of_the_models_classes_are_enough_if_it_names_them(given, model):
    some = given.labels < 3
    part = Images(given.images[some], given.labels[some], tuple("abc"), ReadingReport(classes=3))
    found = measure_top1(model(1, labels=list("abcdefghij")), part)
    assert found.images == some.sum()
    assert (found.reading.classes, found.reading.model_classes, found.reading.by_position) == (3, 10, False)


@pytest.mark.parametrize(
    ("folders", "numbers"),
    [
        (["0", "3", "7"], [0, 3, 7]),
        (["007", "008"], [7, 8]),
        ([str(number) for number in range(10)], list(range(10))),
        ([str(number) for number in range(1, 11)], list(range(10))),  # from 1: by their order
        (list("abcdefghij"), list(range(10))),
    ],
)
def test_a_model_without_names_takes_numbers_or_all_classes(model, folders, numbers):
    given = Images(np.zeros((len(folders), 3, 8, 8), np.uint8), np.arange(len(folders)), tuple(folders))
    found = labels_of(given, model(1), 10)
    assert found.labels.tolist() == numbers and found.by_position and found.classes == 10


def test_numbers_beyond_the_models_classes_are_refused(model):
    given = Images(np.zeros((2, 3, 8, 8), np.uint8), np.arange(2), ("3", "10"))
    with pytest.raises(ImagesError, match=r"2 class folders, .*; give all its classes, or name the folders"):
        labels_of(given, model(1), 10)


def test_numbers_that_may_count_from_1_or_from_0_are_refused(model):
    given = Images(np.zeros((9, 3, 8, 8), np.uint8), np.arange(9), tuple(map(str, range(1, 10))))
    with pytest.raises(ImagesError, match=r"1 to 9, .* whether folder 1 is the first or the second class"):
        labels_of(given, model(1), 10)


def test_names_are_compared_in_one_form_of_unicode(given, model):
    decomposed, composed = (unicodedata.normalize(form, "\u00e9") for form in ("NFD", "NFC"))
    labels = [decomposed, *"bcdefghij"]
    classes = (composed, *"bcdefghij")
    assert measure_top1(model(1, labels=labels), dataclasses.replace(given, classes=classes)).right == 27


def test_images_are_prepared_in_parts(given, model, monkeypatch):
    seen = []
    prepare = images.preprocess
    monkeypatch.setattr(images, "preprocess", lambda x, *how: seen.append(len(x)) or prepare(x, *how))
    monkeypatch.setattr(top1, "_CHUNK_BYTES", 24 * 24 * 3 * 4 * 15)
    for batch, parts in ((1, [15, 15]), (7, [14, 14, 2]), (None, [30])):
        assert measure_top1(model(batch), given).right == 27 and seen == parts
        seen.clear()


def test_how_the_images_were_read_is_kept_beside_the_figure(given, model):
    reading = measure_top1(model(1), given).reading
    assert reading.turned == 2 and reading.by_position and reading.model_classes == 10


def test_a_file_that_does_not_say_how_its_images_are_prepared_is_refused(given, model):
    with pytest.raises(RecordError, match=r"m\.onnx: does not say how its images are preprocessed"):
        measure_top1(model(1, preprocessing=None), given)


@pytest.mark.parametrize(
    "how",
    [
        [1],
        {"image_size": 24, "mean": [0.5, 0.5], "std": [1, 1]},
        {"image_size": 24, "mean": "abc", "std": [1, 1, 1]},
        {"image_size": 24, "mean": [0, 0, 0], "std": [1, 0, 1]},
        {"image_size": -24, "mean": [0, 0, 0], "std": [1, 1, 1]},
    ],
)
def test_a_preparation_that_cannot_be_is_named_before_anything_is_done(model, how):
    with pytest.raises(RecordError, match=r"m\.onnx: .*preprocessing"):
        model(1, preprocessing=how)


def test_a_preparation_of_another_size_than_the_architectures_is_refused(model):
    with pytest.raises(MismatchError, match="prepares images of 20 px, its architecture takes 24"):
        model(1, preprocessing={"image_size": 20, "mean": [0, 0, 0], "std": [1, 1, 1]})


def test_labels_that_are_no_names_are_refused(model):
    with pytest.raises(RecordError, match="labels"):
        model(1, labels=5)


def test_interval_of_all_right():
    low, high = Top1(right=50, images=50).interval_percent
    assert 92 < low < 93 and high == pytest.approx(100.0)
