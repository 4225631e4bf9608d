"""The making of what ships in the package, on a few made-up images: stretches, then the predictor."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from deploy_nas.accuracy.fit import FitSettings
from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.adapters.images import ImageSet
from deploy_nas.adapters.supernets import weights_hash
from deploy_nas.core.errors import ImagesError, MismatchError, OptionError, OutputError, RecordError
from deploy_nas.core.spaces import get_space
from deploy_nas.records.accuracy import load_accuracy_data
from deploy_nas.training.sandwich import Recipe
from deploy_nas.workflows import train as workflow
from deploy_nas.workflows.train import Files, train_predictor, train_supernet

pytestmark = [pytest.mark.slow, pytest.mark.shared_out]

SPACE = get_space("ofa-mbv3-cifar10")
QUICK = FitSettings(hidden=(16, 16), taught=100, epochs=2)
# 20 images, 10 a batch: 2 steps an epoch.
FIRST = Recipe(
    largest_epochs=1, sandwich_epochs=1, decay_epochs=1, frozen_steps=1, statistics_batches=2, batch_size=10
)
SECOND = replace(FIRST, largest_epochs=0.5, sandwich_epochs=0, decay_epochs=0, frozen_steps=0, seed=1)


@pytest.fixture
def images(rng, monkeypatch):
    monkeypatch.setattr(workflow, "split", lambda given: (given, given.take(range(15))))
    return ImageSet(
        images=rng.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8),
        labels=np.arange(20) % 10,
        classes=SPACE.labels,
        source="made up",
    )


@pytest.fixture
def files(tmp_path):
    return Files(
        work=tmp_path / "work",
        weights=tmp_path / "w.safetensors",
        predictor=tmp_path / "p.onnx",
        summary=tmp_path / "summary.json",
    )


def train(images, files, *stretches, teacher=None):
    said: list[str] = []
    summary = train_supernet(SPACE, images, files, said.append, stretches, teacher)
    return summary, [line for line in said if " step " in line]


def test_what_ships_was_trained_by_the_recipe_here():
    record = json.loads(SPACE.default_weights.path.with_suffix(".training.json").read_text())
    teacher, *stretches = record["teacher"], *record["stretches"]
    assert teacher["recipe"] == asdict(workflow.TEACHER)
    assert [stretch["recipe"] for stretch in stretches] == [asdict(r) for r in workflow.STRETCHES]


def test_every_stretch_begins_with_the_weights_before_and_is_trained_once(images, files):
    summary, steps = train(images, files, FIRST, SECOND)
    first, second = summary["stretches"]
    assert first["recipe"] == asdict(FIRST) and first["started_from_sha256"] is None
    before = files.work / "stretch-1/weights.safetensors"
    assert second["started_from_sha256"] == weights_hash(before) != weights_hash(files.weights)
    assert len(steps) == 2 and steps[0].startswith("frozen step 5/5")
    assert json.loads(files.summary.read_text()) == summary
    assert summary["training_s"] == first["training_s"] + second["training_s"]
    whole = files.weights.read_bytes()
    files.weights.unlink()
    assert train(images, files, FIRST, SECOND) == (summary, [])
    assert files.weights.read_bytes() == whole


def test_a_stretch_is_added_without_training_the_others(images, files):
    train(images, files, FIRST)
    (files.work / "stretch-1/checkpoint.pt").unlink()
    _, steps = train(images, files, FIRST, SECOND)
    assert len(steps) == 1


def test_a_teacher_is_trained_once_and_stretches_of_another_are_refused(images, files):
    teacher = replace(SECOND, label_smoothing=0.0)
    summary, steps = train(images, files, FIRST, teacher=teacher)
    (first,) = summary["stretches"]
    assert first["taught_by_sha256"] == weights_hash(files.work / "teacher/weights.safetensors")
    assert summary["teacher"]["recipe"] == asdict(teacher) and len(steps) == 2
    assert summary["training_s"] == summary["teacher"]["training_s"] + first["training_s"]
    assert train(images, files, FIRST, teacher=teacher) == (summary, [])
    with pytest.raises(MismatchError, match=r"stretch-1/stretch\.json: was started with other weights"):
        train(images, files, FIRST)


def test_what_lies_in_the_folder_must_be_of_this_run(images, files):
    train(images, files, FIRST, SECOND)
    with pytest.raises(MismatchError, match="another recipe"):
        train(images, files, replace(FIRST, seed=9), SECOND)
    record = files.work / "stretch-2/stretch.json"
    facts = json.loads(record.read_text())
    record.write_text(json.dumps(facts | {"started_from_sha256": "0" * 64}))
    with pytest.raises(MismatchError, match=r"stretch\.json: was started with other weights"):
        train(images, files, FIRST, SECOND)
    record.write_text("{")
    with pytest.raises(RecordError, match=r"stretch\.json"):
        train(images, files, FIRST, SECOND)


def test_a_stretch_is_not_gone_on_with_from_other_weights_or_images(images, files):
    longer = replace(FIRST, sandwich_epochs=1.5)
    train(images, files, FIRST, SECOND)
    (files.work / "stretch-2/stretch.json").unlink()  # as if it had been stopped
    with pytest.raises(MismatchError, match=r"stretch-2/checkpoint\.pt: began with other weights"):
        train(images, files, longer, SECOND)
    other = replace(images, labels=images.labels[::-1].copy())
    with pytest.raises(
        MismatchError,
        match=r"stretch-1/stretch\.json: was started with other weights or images, or another teacher",
    ):
        train(other, files, longer, SECOND)
    (files.work / "stretch-1/stretch.json").unlink()
    with pytest.raises(
        MismatchError,
        match=r"stretch-1/checkpoint\.pt: began with other weights, other images or another teacher",
    ):
        train(other, files, longer, SECOND)


def test_what_cannot_be_trained_on_or_written_is_said_at_once(images, files, tmp_path):
    with pytest.raises(ImagesError, match="9 class folders, ofa-mbv3-cifar10 has 10 classes"):
        train(replace(images, classes=images.classes[:9]), files, FIRST)
    with pytest.raises(ImagesError, match="made up: are 32x30 pixels"):
        train(replace(images, images=images.images[:, :, :30]), files, FIRST)
    with pytest.raises(OutputError, match="does not exist"):
        train(images, replace(files, weights=tmp_path / "gone/w.safetensors"), FIRST)
    assert not files.work.exists()


def test_more_images_than_are_held_out_are_needed(images, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(ImagesError, match="made up: 20 images, but 5000 are held out"):
        workflow.split(images)


def test_no_stretch_is_no_run(images, files):
    with pytest.raises(OptionError, match="stretches"):
        train(images, files)


def test_measured_on_held_out_images_and_their_mirror_images(images, files):
    files = replace(files, weights=SPACE.default_weights.path)
    said: list[str] = []
    options = {"subnets": 32, "seed": 0, "workers": 1, "fit": QUICK, "best": (3, 2), "judged": 2}
    figures = train_predictor(SPACE, images, files, log=said.append, **options)
    (measured,) = files.work.glob("accuracy-*.jsonl")
    data = load_accuracy_data(measured)
    assert len(data) == 37 and data.header.image_count == 30
    assert [line.partition(":")[0] for line in said if line.startswith("best ")] == ["best 3", "best 2"]
    (judged,) = files.work.glob("best-*.jsonl")
    of_the_best = figures["of_the_best"]
    assert len(load_accuracy_data(judged)) == of_the_best["subnets"] == 2
    assert abs(of_the_best["promised_points"]) <= of_the_best["mae_points"]
    assert figures["subnets"] == 18 and any("measured 32/32" in line for line in said)
    predictor = load_accuracy_predictor(SPACE, files.predictor)
    assert predictor.about.held_out.to_json() == {k: v for k, v in figures.items() if k != "of_the_best"}
    assert (files.work / "accuracy.svg").exists()
    again: list[str] = []
    assert train_predictor(SPACE, images, files, log=again.append, **options) == figures
    assert not any(line.startswith("measured") for line in again)
    # Stopped in the first round, it goes on with the predictor that began it.
    lines = measured.read_text().splitlines(keepends=True)
    measured.write_text("".join(lines[:34]))
    train_predictor(SPACE, images, files, log=said.append, **options)
    assert measured.read_text().splitlines(keepends=True)[:34] == lines[:34]
    assert len(load_accuracy_data(measured)) == 37
