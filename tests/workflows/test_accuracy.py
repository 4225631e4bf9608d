"""Fitting a predictor to a file of measured subnets, and what a predictor promised of them."""

import os
from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.accuracy.encoding import WITH_TOTALS, feature_layout
from deploy_nas.accuracy.fit import FitSettings
from deploy_nas.accuracy.heldout import HeldOut
from deploy_nas.accuracy.making import Making
from deploy_nas.accuracy.predictor import AccuracyPredictor, load_accuracy_predictor, save_accuracy_predictor
from deploy_nas.adapters.mlp import MLP
from deploy_nas.core.errors import OutputError, RecordError, WeightsError
from deploy_nas.core.spaces import embedded_space
from deploy_nas.records.accuracy import AccuracyData, AccuracyHeader, save_accuracy_data
from deploy_nas.workflows import accuracy
from deploy_nas.workflows.accuracy import CollectRequest, collect_accuracies, fit_file, promised_points

SPACE = embedded_space()
FIGURES = HeldOut(mae_points=0.5, rank_correlation=0.9, pairs=((80.0, 80.5),), spread_points=(0.0,))
QUICK = FitSettings(hidden=(32,), taught=2000, epochs=10)


@pytest.fixture
def data():
    """Subnets whose accuracy grows with the number of blocks and the image's side."""
    rng = np.random.default_rng(0)
    architectures = [SPACE.sample(rng) for _ in range(120)]
    percent = [40.0 + 2 * sum(a["d"]) + 0.2 * a["image_size"] for a in architectures]
    header = AccuracyHeader(
        space=SPACE, weights="ab" * 32, images="cd" * 32, image_count=1000, calibration=""
    )
    return AccuracyData(header=header, encoded=SPACE.encode(architectures), top1_percent=np.array(percent))


@pytest.mark.slow
def test_a_predictor_is_fitted_judged_saved_and_drawn(data, tmp_path):
    save_accuracy_data(data, tmp_path / "a.jsonl")
    fitted = fit_file(tmp_path / "a.jsonl", tmp_path / "a.onnx", QUICK, plot=tmp_path / "a.svg")
    figures = fitted.figures
    assert fitted.plot == tmp_path / "a.svg" and not fitted.plot_fault
    assert figures.mae_points < 1.5 and figures.rank_correlation > 0.9
    assert load_accuracy_predictor(SPACE, str(tmp_path / "a.onnx")).space == SPACE
    assert f"{len(figures.pairs)} subnets held out" in (tmp_path / "a.svg").read_text()


def test_a_plot_that_fails_costs_nothing_else(data, tmp_path, monkeypatch):
    save_accuracy_data(data, tmp_path / "a.jsonl")

    def no_plot(*arguments, **options):
        raise OutputError("could not be drawn (no such font)", subject="a.svg")

    monkeypatch.setattr(accuracy, "plot_predictions", no_plot)
    predictor = load_accuracy_predictor(SPACE, "embedded")
    monkeypatch.setattr(accuracy, "fit_accuracy", lambda *a, **k: (predictor, FIGURES))
    fitted = fit_file(tmp_path / "a.jsonl", tmp_path / "a.onnx", plot=tmp_path / "a.svg")
    assert fitted.figures is FIGURES and fitted.plot is None
    assert load_accuracy_predictor(SPACE, tmp_path / "a.onnx").space == SPACE
    assert fitted.plot_fault == "a.svg: could not be drawn (no such font)"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed process is made by fork")
@pytest.mark.parametrize("before", [False, True])
def test_a_kill_at_any_moment_lets_the_same_command_run_again(data, tmp_path, monkeypatch, killed_at, before):
    """With ``force`` there are files of an earlier predictor: its plot is never beside the new one."""
    save_accuracy_data(data, tmp_path / "a.jsonl")
    layout, made = feature_layout(SPACE, WITH_TOTALS), []
    mlp = MLP(members=(((np.ones((len(layout.columns), 1), np.float32), np.zeros(1, np.float32)),),))
    about = Making(weights="ab" * 32, images="cd" * 32, seed=0, ensemble=1)
    predictor = AccuracyPredictor(space=SPACE, layout=layout, mlp=mlp, about=about)
    monkeypatch.setattr(accuracy, "fit_accuracy", lambda *a, **k: (predictor, made[-1]))

    def work(percent=80.5, force=before):
        made.append(replace(FIGURES, pairs=((80.0, percent),)))
        fit_file(tmp_path / "a.jsonl", path, plot=plot, note=str(percent), force=force)

    path, plot, seen = tmp_path / "whole.onnx", tmp_path / "whole.svg", set()
    work(force=False)
    whole = path.read_bytes(), plot.read_bytes()
    for moment in range(20):
        path, plot = tmp_path / f"{moment}.onnx", tmp_path / f"{moment}.svg"
        if before:
            work(70.0, force=False)
        ended = killed_at(moment, work, ("os.link", "os.rename", "os.remove"))
        there = [one.read_bytes() if one.exists() else b"" for one in (path, plot)]
        seen.add((there[0] == whole[0], plot.exists()))
        assert there[0] != whole[0] or there[1] in (b"", whole[1])
        if before or there != [*whole]:
            work()
        assert (path.read_bytes(), plot.read_bytes()) == whole
        if ended:
            break
    assert ended and seen == {(False, False), (False, before), (True, False), (True, True)}


def test_a_predictor_of_other_subnets_is_refused_before_the_fit(data, tmp_path, monkeypatch):
    save_accuracy_data(data, tmp_path / "a.jsonl")
    about = Making(weights="ab" * 32, images="ef" * 32, seed=0, ensemble=1)
    predictor = replace(load_accuracy_predictor(SPACE, "embedded"), about=about)
    save_accuracy_predictor(predictor, tmp_path / "a.onnx")
    monkeypatch.setattr(accuracy, "fit_accuracy", None)
    with pytest.raises(OutputError, match=r"a\.onnx: exists already"):
        fit_file(tmp_path / "a.jsonl", tmp_path / "a.onnx", plot=tmp_path / "a.svg")


def test_nothing_is_fitted_where_a_file_would_be_lost(data, tmp_path):
    save_accuracy_data(data, tmp_path / "a.jsonl")
    (tmp_path / "a.onnx").write_text("kept")
    with pytest.raises(OutputError, match=r"a\.onnx"):
        fit_file(tmp_path / "a.jsonl", tmp_path / "a.onnx", QUICK)
    assert (tmp_path / "a.onnx").read_text() == "kept"
    with pytest.raises(RecordError, match=r"missing\.jsonl"):
        fit_file(tmp_path / "missing.jsonl", tmp_path / "b.onnx", QUICK)


def test_points_promised_are_predicted_minus_measured(data):
    class Optimist:
        def percent_encoded(self, rows):
            return data.top1_percent + 3.0

    assert promised_points(Optimist(), data) == pytest.approx(3.0)


def test_random_weights_are_refused_before_anything_is_read(tmp_path):
    request = CollectRequest(
        space=SPACE.id, images=tmp_path / "none", output=tmp_path / "o.jsonl", weights="random"
    )
    with pytest.raises(WeightsError, match="weights: accuracies of random weights mean nothing"):
        collect_accuracies(request)
    assert not list(tmp_path.iterdir())
