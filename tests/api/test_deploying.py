"""Files are verified and reported on; the export itself is a workflow's, replaced here."""

import pytest

import deploy_nas
from deploy_nas.api import deploying
from deploy_nas.core.errors import OptionError
from deploy_nas.workflows.export import Exported

pytestmark = pytest.mark.slow  # for the file that is measured


def test_a_file_is_verified(tmp_path, model_data):
    path = tmp_path / "m.onnx"
    path.write_bytes(model_data())
    found = deploy_nas.verify(str(path), max_latency_ms=1e6)
    assert found.verification.within_budget and "kept" in repr(found)


def test_a_report_of_a_search_is_shown_within_the_page(tmp_path, made_profile):
    profile = made_profile()
    found = deploy_nas.search(profile, max_latency_ms=1e3, population=20, generations=1)
    report = deploy_nas.make_report(found, profile, tmp_path / "r.html")
    assert "iframe" in report._repr_html_() and len(repr(report)) < 300


def test_an_export_takes_a_sample_and_its_predictions(tmp_path, monkeypatch, rng):
    asked = []

    def fake(request, log, *, progress):
        asked.append(request)
        return Exported(report=made)

    space = deploy_nas.get_space("ofa-mbv3-cifar10")
    sample = space.sample(rng)
    made = deploy_nas.export_onnx(sample, tmp_path / "a.onnx", weights="random", batch=2)
    assert made.batch == 2 and len(repr(made)) < 300
    monkeypatch.setattr(deploying, "export", fake)
    deploy_nas.export_onnx({"space": space.id, **sample}, "b.onnx", predicted={"latency_ms": 2.0})
    assert asked[0].architecture.predicted.latency_ms == 2.0
    assert asked[0].architecture.architecture == sample
    with pytest.raises(OptionError, match="batch of 1"):
        deploy_nas.export_onnx(sample, "c.onnx", batch=3, int8=True)
