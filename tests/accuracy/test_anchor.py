"""A predictor on the user's scale: values move, order stays."""

import json

import numpy as np
import pytest

from deploy_nas.accuracy.anchor import anchored, load_anchors
from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.core.errors import ArchitectureError, OptionError, RecordError
from deploy_nas.core.spaces import get_space
from deploy_nas.records.accuracy import AccuracyData, AccuracyHeader, save_accuracy_data

SPACE = "ofa-mbv3-cifar10"


@pytest.fixture(scope="module")
def predictor():
    return load_accuracy_predictor(SPACE, "embedded")


@pytest.fixture
def best(tmp_path):
    path = tmp_path / "best.json"
    path.write_text(json.dumps({"space": SPACE, **get_space(SPACE).largest()}))
    return path


def test_one_anchor_shifts_and_says_so(predictor, best, rng):
    space = predictor.space
    moved = anchored(predictor, *load_anchors(space, [f"{best}=76.9"]))
    nets = space.sample_encoded(rng, 50)
    shift = 76.9 - predictor.percent_encoded(space.encode([space.largest()]))[0]
    np.testing.assert_allclose(moved.percent_encoded(nets), predictor.percent_encoded(nets) + shift)
    np.testing.assert_allclose(moved.percent_encoded(space.encode([space.largest()])), 76.9)
    assert "1 measured subnet (" in moved.note and f"{shift:+.2f} points" in moved.note


def test_many_anchors_fit_a_line_and_keep_the_order(predictor, rng, tmp_path):
    space = predictor.space
    nets = space.sample_encoded(rng, 30)
    truth = 0.8 * predictor.percent_encoded(nets) + 9.0 + rng.normal(0, 0.02, 30)
    header = AccuracyHeader(space=space, weights="w", images="i", image_count=10)
    save_accuracy_data(AccuracyData(header=header, encoded=nets, top1_percent=truth), tmp_path / "m.jsonl")
    moved = anchored(predictor, *load_anchors(space, [str(tmp_path / "m.jsonl")]))
    fresh = space.sample_encoded(rng, 200)
    wanted = 0.8 * predictor.percent_encoded(fresh) + 9.0
    assert np.abs(moved.percent_encoded(fresh) - wanted).max() < 0.1
    order = np.argsort(predictor.predict_encoded(fresh), kind="stable")
    assert (np.diff(moved.predict_encoded(fresh)[order]) >= 0).all()


def test_the_published_predictor_in_fractions(data_dir):
    space = get_space("ofa-mbv3-w1.2")
    published = load_accuracy_predictor(space, data_dir / "ofa" / "acc_predictor.pth")
    encoded = space.encode([space.largest(224)])
    moved = anchored(published, encoded, np.array([76.9]))
    np.testing.assert_allclose(moved.predict_encoded(encoded), 0.769, atol=1e-6)
    assert moved.unit == "fraction"


def test_a_measured_file_may_have_an_equals_sign_in_its_path(predictor, rng, tmp_path):
    space, folder = predictor.space, tmp_path / "lr=0.1"
    folder.mkdir()
    header = AccuracyHeader(space=space, weights="w", images="i", image_count=10)
    data = AccuracyData(header=header, encoded=space.encode([space.largest()]), top1_percent=np.array([60.0]))
    save_accuracy_data(data, folder / "subnets.jsonl")
    assert load_anchors(space, [str(folder / "subnets.jsonl")])[1].tolist() == [60.0]


def test_bad_anchors(predictor, best, tmp_path):
    space = predictor.space
    for source, error, says in (
        (f"{best}=high", OptionError, "top-1 in percent"),
        (f"{best}=nan", OptionError, "top-1 in percent"),
        (f"{best}=190", OptionError, "top-1 in percent"),
        (f"{best}=0.769", OptionError, "top-1 in percent"),
        (f"{tmp_path}/nowhere.json=70", RecordError, "nowhere.json"),
        (f"{tmp_path}/nowhere.jsonl", RecordError, "nowhere.jsonl"),
    ):
        with pytest.raises(error, match=says):
            load_anchors(space, [source])
    other = get_space("ofa-mbv3-w1.0")
    best.write_text(json.dumps({"space": other.id, **other.largest()}))
    with pytest.raises((OptionError, ArchitectureError), match=r"w1\.0"):
        load_anchors(space, [f"{best}=70"])
