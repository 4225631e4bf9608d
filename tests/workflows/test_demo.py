"""The demo page of a file and of a bundle."""

import pytest

from deploy_nas.core.errors import OutputError, ProviderError
from deploy_nas.workflows import demo as workflow
from deploy_nas.workflows.demo import write_demo


class Web:
    version = "1.99.0"

    def read(self, name):
        return name.encode()


@pytest.mark.slow
def test_a_file_and_a_bundle(made, tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "find_web_runtime", Web)
    _, exported, bundle, _ = made
    for model, precision in ((exported.report.path, "fp32"), (bundle, "int8")):
        page = tmp_path / f"{precision}.html"
        assert write_demo(model, page) == page.stat().st_size
        assert f"pixels, {precision}" in page.read_text()
        with pytest.raises(OutputError, match="exists"):
            write_demo(model, page)


def test_onnxruntime_web_is_needed(tmp_path, monkeypatch):
    def missing():
        raise ProviderError("onnxruntime-web is not there")

    monkeypatch.setattr(workflow, "find_web_runtime", missing)
    monkeypatch.setattr(workflow, "read_model", lambda path: None)
    with pytest.raises(ProviderError):
        write_demo(tmp_path / "a.onnx", tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()
