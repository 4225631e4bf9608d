"""A predictor for a supernet that was just trained, from rounds of subnets."""

from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.accuracy import best
from deploy_nas.accuracy.evaluate import SubnetEvaluator
from deploy_nas.accuracy.fit import FitSettings
from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.adapters.images import ImageSet, at_sizes
from deploy_nas.core.spaces import get_space
from deploy_nas.records.accuracy import load_accuracy_data
from deploy_nas.workflows import subnet_accuracy
from deploy_nas.workflows.subnet_accuracy import PredictorFiles, PredictorSettings, make_predictor

pytestmark = pytest.mark.slow

SPACE = get_space("ofa-mbv3-cifar10")
QUICK = FitSettings(hidden=(16, 16), taught=100, epochs=2)


@pytest.fixture
def files(tmp_path):
    return PredictorFiles(
        weights=SPACE.default_weights.path,
        predictor=tmp_path / "p.onnx",
        subnets=tmp_path / "subnets.jsonl",
        plot=tmp_path / "p.svg",
        judged=tmp_path,
    )


def test_measured_on_held_out_images_and_their_mirror_images(rng, files):
    validation = ImageSet(
        images=rng.integers(0, 256, (15, 3, 32, 32), dtype=np.uint8),
        labels=np.arange(15) % 10,
        classes=SPACE.labels,
        source="made up",
    )
    sized = at_sizes(validation, SPACE.image_sizes)
    said: list[str] = []
    settings = PredictorSettings(subnets=32, workers=1, fit=QUICK, best=(3, 2), judged=2)
    counted = []
    made = make_predictor(SPACE, files, sized, settings, log=said.append, on_subnet=counted.append)
    data = load_accuracy_data(files.subnets)
    assert len(data) == 37 and data.header.image_count == 30
    assert [line.partition(":")[0] for line in said if line.startswith("best ")] == ["best 3", "best 2"]
    (judged,) = files.judged.glob("best-*.jsonl")
    assert len(load_accuracy_data(judged)) == made.of_the_best.subnets == 2
    assert abs(made.of_the_best.promised_points) <= made.of_the_best.mae_points
    assert counted[0].done == 1 and len(made.held_out.pairs) == 7
    predictor = load_accuracy_predictor(SPACE, files.predictor)
    assert predictor.about.held_out.to_json() == made.held_out.to_json() and files.plot.exists()
    counted.clear()
    assert make_predictor(SPACE, files, sized, settings, log=said.append, on_subnet=counted.append) == made
    assert not counted
    # Stopped in the first round, it goes on with the predictor that began it.
    lines = files.subnets.read_text().splitlines(keepends=True)
    files.subnets.write_text("".join(lines[:34]))
    make_predictor(SPACE, files, sized, replace(settings, judged=0), log=said.append)
    assert files.subnets.read_text().splitlines(keepends=True)[:34] == lines[:34]
    assert len(load_accuracy_data(files.subnets)) == 37


@pytest.mark.parametrize("mirrored", [True, False])
def test_images_that_must_not_be_mirrored_are_measured_as_they_are(rng, files, monkeypatch, mirrored):
    validation = ImageSet(
        images=rng.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8),
        labels=np.arange(6) % 10,
        classes=SPACE.labels,
        source="made up",
    )

    def evaluator(space, net, images):
        raise KeyError(len(images.first))

    monkeypatch.setattr(subnet_accuracy, "SubnetEvaluator", evaluator)
    settings = PredictorSettings(mirrored=mirrored)
    with pytest.raises(KeyError, match="12" if mirrored else "6"):
        make_predictor(SPACE, files, at_sizes(validation, SPACE.image_sizes), settings, log=print)


def test_rounds_of_a_fit_with_one_summit_are_drawn_broadly(rng, files, monkeypatch):
    """Every climb ends at one subnet where hardly anything was learnt."""
    validation = ImageSet(
        images=rng.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8),
        labels=np.arange(6) % 10,
        classes=SPACE.labels,
        source="made up",
    )
    summit = SPACE.encode([SPACE.largest(SPACE.image_sizes[-1])])
    monkeypatch.setattr(best, "climb", lambda *args, **kwargs: summit)
    monkeypatch.setattr(SubnetEvaluator, "top1_percent", lambda self, subnet: sum(subnet["ks"]) / 2.0)
    said: list[str] = []
    settings = PredictorSettings(subnets=30, workers=1, fit=QUICK, best=(3,))
    make_predictor(SPACE, files, at_sizes(validation, SPACE.image_sizes), settings, log=said.append)
    assert "too few different best subnets: 3 are drawn broadly instead" in said
    assert len(load_accuracy_data(files.subnets)) == 33
