"""Finding onnxruntime-web, and checking that it is what was published."""

import hashlib
import json

import pytest

from deploy_nas.adapters.targets.browser import web_runtime
from deploy_nas.adapters.targets.browser.web_runtime import find_web_runtime
from deploy_nas.core.errors import MismatchError, ProviderError, RecordError
from deploy_nas.core.notices import telling

WASM = "ort-wasm-simd-threaded.wasm"


def test_the_folder_that_the_environment_names(package, monkeypatch):
    told = []
    for place in (package, package / "dist"):
        monkeypatch.setenv(web_runtime.VARIABLE, str(place))
        with telling(told.append):
            found = find_web_runtime()
        assert found.version == "1.99.0" and found.read(WASM) == WASM.encode()
    assert "its files cannot be checked" in told[0]


def test_node_modules_here_or_above(package, tmp_path, monkeypatch):
    monkeypatch.delenv(web_runtime.VARIABLE)
    (tmp_path / "node_modules").mkdir()
    package.rename(tmp_path / "node_modules" / "onnxruntime-web")
    (tmp_path / "a/b").mkdir(parents=True)
    assert find_web_runtime(tmp_path / "a/b").version == "1.99.0"


def test_what_is_missing_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv(web_runtime.VARIABLE, raising=False)
    with pytest.raises(
        ProviderError, match=f"is not there; install it: .npm install.*{web_runtime.VARIABLE}"
    ):
        find_web_runtime(tmp_path)
    monkeypatch.setenv(web_runtime.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ProviderError, match="nowhere: onnxruntime-web is not there"):
        find_web_runtime()


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({"name": "left-pad", "version": "1.30.0"}, ProviderError, "is the package 'left-pad'"),
        ({"name": "onnxruntime-web", "version": "1.14.0"}, ProviderError, "at least 1.21 is needed"),
        ({"name": "onnxruntime-web"}, RecordError, "has no 'version'"),
    ],
)
def test_other_packages(package, said, error, message):
    (package / "package.json").write_text(json.dumps(said))
    with pytest.raises(error, match=message):
        find_web_runtime()


def test_a_damaged_description(package):
    (package / "package.json").write_text("{")
    with pytest.raises(RecordError, match=r"package.json: cannot be read"):
        find_web_runtime()


def test_files_are_checked_and_no_others_are_read(package, monkeypatch):
    monkeypatch.setitem(web_runtime._KNOWN, "1.99.0", {WASM: hashlib.sha256(WASM.encode()).hexdigest()})
    found = find_web_runtime()
    assert found.read(WASM) == WASM.encode()
    (package / "dist" / WASM).write_text("another")
    with pytest.raises(MismatchError, match=r"is not the file of onnxruntime-web 1.99.0"):
        found.read(WASM)
    for name in ("secret.txt", "../package.json", "ort.webgpu.min.mjs"):
        with pytest.raises(ProviderError, match="or it cannot be read"):
            found.read(name)
