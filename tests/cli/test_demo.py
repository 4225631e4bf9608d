"""``deploy-nas demo``."""

from pathlib import Path

from deploy_nas.core.errors import ProviderError
from deploy_nas.workflows import demo


def test_it_says_what_was_written(run, stand_in):
    calls = stand_in(demo, "write_demo", 7_000_000)
    assert (
        run("demo", "b.zip", "-o", "d.html", "--force").stdout
        == "wrote d.html (7.0 MB): open it in a browser\n"
    )
    assert calls == [((Path("b.zip"), Path("d.html")), {"force": True})]


def test_what_is_missing_is_an_error(run, stand_in):
    stand_in(demo, "write_demo", ProviderError("is not there", subject="node_modules", hint="install it"))
    assert run("demo", "a.onnx", code=2).stderr == "error: node_modules: is not there; install it\n"
