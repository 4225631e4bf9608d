"""Answers of a file on labelled images: counted once by class, and the worst mistakes kept with a picture."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from deploy_nas.adapters.images import ReadingReport, preprocess
from deploy_nas.core.errors import ImagesError, OptionError, RecordError
from deploy_nas.core.spaces import embedded_space
from deploy_nas.deploy import evaluation, top1
from deploy_nas.deploy.evaluation import evaluate, softmax
from deploy_nas.deploy.model_file import parse_model_file
from deploy_nas.deploy.top1 import measure_top1
from deploy_nas.device.runtime import first_output
from deploy_nas.device.session import open_session

SPACE = embedded_space()
CLASSES = tuple("abcdefghij")


@dataclasses.dataclass
class Images:
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    report: ReadingReport = dataclasses.field(default_factory=ReadingReport)


@pytest.fixture
def model(model_data):
    return lambda batch=1, **said: parse_model_file(model_data(batch, **said), "m.onnx")


@pytest.fixture(scope="module")
def logits(model_data):
    """Forty images, and the model's own logits of them."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 32, 32), dtype=np.uint8)
    x = preprocess(pixels, 24, SPACE.mean, SPACE.std)
    return pixels, first_output(open_session(model_data(None)), x)


@pytest.fixture
def given(logits):
    """Images labelled by the model itself, but for the first ten."""
    pixels, found = logits
    labels = found.argmax(axis=1)
    labels[:10] = (labels[:10] + 1) % 10
    return Images(pixels, labels, CLASSES)


@pytest.mark.parametrize("batch", [7, None])
def test_the_counts_are_those_of_measuring_top1(given, model, batch, monkeypatch):
    monkeypatch.setattr(top1, "_CHUNK_BYTES", 15)
    found = evaluate(model(batch), given)
    measured = measure_top1(model(batch), given)
    assert (found.top1.right, found.top1.images) == (measured.right, measured.images) == (30, 40)
    assert [sum(row) for row in found.confusion] == np.bincount(given.labels, minlength=10).tolist()
    assert (found.labels, found.images) == (CLASSES, 40)


def test_the_mistakes_are_those_it_was_surest_of(given, logits, model, monkeypatch):
    monkeypatch.setattr(evaluation, "_OF_A_PAIR", 100)
    monkeypatch.setattr(top1, "_CHUNK_BYTES", 7)
    names = [f"{n}.png" for n in range(40)]
    found = evaluate(model(None), given, names=names, worst=4).mistakes
    sure = softmax(logits[1])[:10].max(axis=1)
    assert [m.name for m in found] == [names[i] for i in np.argsort(-sure, kind="stable")[:4]]
    assert [m.confidence for m in found] == pytest.approx(np.sort(sure)[::-1][:4], abs=1e-4)
    assert all(m.label == (m.guess + 1) % 10 for m in found)
    assert all(Image.open(io.BytesIO(m.thumbnail)).size == (32, 32) for m in found)


def test_at_most_three_of_the_same_kind_are_kept(given, logits, model):
    guesses = logits[1].argmax(axis=1)
    most = int(np.bincount(guesses).argmax())
    given.labels[guesses == most] = (most + 1) % 10
    kinds = [(m.label, m.guess) for m in evaluate(model(None), given, worst=40).mistakes]
    assert np.count_nonzero(guesses == most) > 3
    assert kinds.count(((most + 1) % 10, most)) == 3
    assert evaluate(model(None), given, worst=0).mistakes == ()


def test_classes_go_by_name_in_the_models_order(given, model):
    backwards = dataclasses.replace(given, labels=9 - given.labels)
    found = evaluate(model(None, labels=list("jihgfedcba")), backwards)
    assert found.labels == tuple("jihgfedcba") and found.top1.right == 30
    assert found.mistakes[0].name == ""


def test_what_cannot_be_judged_is_refused(given, model):
    with pytest.raises(ImagesError, match="9 class folders"):
        evaluate(model(), dataclasses.replace(given, classes=CLASSES[:9]))
    with pytest.raises(ImagesError, match="nothing to judge by"):
        evaluate(model(), Images(given.images[:0], given.labels[:0], CLASSES))
    with pytest.raises(OptionError, match="names: 2 for 40 images"):
        evaluate(model(), given, names=["a", "b"])
    with pytest.raises(OptionError, match="worst: must be at least 0"):
        evaluate(model(), given, worst=-1)
    with pytest.raises(RecordError, match="does not say how its images are preprocessed"):
        evaluate(model(preprocessing=None), given)


def test_probabilities_add_up_however_large_the_logits():
    found = softmax(np.array([[1e4, 0.0], [0.0, 0.0], [-3e38, 3e38]], np.float32))
    assert found == pytest.approx(np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]))
