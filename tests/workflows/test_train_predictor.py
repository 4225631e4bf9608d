"""The embedded predictor's making, on a few made-up images: measured, fitted, drawn, and gone on with."""

import numpy as np

from deploy_nas.accuracy.fit import FitSettings
from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.adapters.images import ImageSet
from deploy_nas.core.spaces import CIFAR10_LABELS, get_space
from deploy_nas.deploy.weights import embedded_path
from deploy_nas.records.accuracy import load_accuracy_data
from deploy_nas.workflows import train_embedded
from deploy_nas.workflows.train_embedded import Files, train_predictor

SPACE = get_space("ofa-mbv3-cifar10")
QUICK = FitSettings(hidden=(16, 16), taught=100, epochs=2)


def test_measured_on_held_out_images_and_their_mirror_images(rng, tmp_path, monkeypatch):
    images = ImageSet(
        images=rng.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8),
        labels=np.arange(20) % 10,
        classes=CIFAR10_LABELS,
        source="made up",
    )
    monkeypatch.setattr(train_embedded, "split", lambda given: (given, given.take(range(15))))
    files = Files(
        work=tmp_path / "work",
        weights=embedded_path(SPACE),
        predictor=tmp_path / "p.onnx",
        summary=tmp_path / "summary.json",
    )
    said: list[str] = []
    options = {"subnets": 32, "seed": 0, "workers": 1, "fit": QUICK}
    figures = train_predictor(SPACE, images, files, log=said.append, **options)
    (measured,) = (tmp_path / "work").glob("accuracy-*.jsonl")
    data = load_accuracy_data(measured)
    assert len(data) == 32 and data.header.image_count == 30
    assert figures["subnets"] == 16 and any("measured 32/32" in line for line in said)
    assert load_accuracy_predictor(SPACE, files.predictor).about["held_out"] == figures
    assert (tmp_path / "work/accuracy.svg").exists()
    assert train_predictor(SPACE, images, files, log=lambda line: None, **options) == figures
