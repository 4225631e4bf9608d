"""Finding and starting a browser, with programs that only pretend to be one."""

import sys

import pytest

from deploy_nas.adapters.targets.browser import chromium
from deploy_nas.adapters.targets.browser.chromium import find_browser, headless
from deploy_nas.core.errors import TargetError


def program(path, text):
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_one_that_the_environment_names(tmp_path, monkeypatch):
    named = program(tmp_path / "mine", "")
    monkeypatch.setenv(chromium.VARIABLE, str(named))
    assert find_browser() == str(named)
    monkeypatch.setenv(chromium.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(TargetError, match=f"{chromium.VARIABLE} names .*none, which is not a program"):
        find_browser()


def test_a_missing_browser_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv(chromium.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(chromium, "_NAMES", ("chromium", "google-chrome"))
    with pytest.raises(TargetError, match=f"are missing here; install one .*{chromium.VARIABLE}.*kit serve"):
        find_browser()
    google = program(tmp_path / "google-chrome", "")
    assert find_browser() == str(google)


def test_it_is_given_the_page_and_ended(tmp_path, monkeypatch):
    text = (
        f"import sys, time\nopen({str(tmp_path / 'told')!r}, 'w').write(' '.join(sys.argv))\ntime.sleep(60)"
    )
    monkeypatch.setenv(chromium.VARIABLE, str(program(tmp_path / "browser", text)))
    with headless("http://page/", gpu=True) as browser:
        while not (told := (tmp_path / "told").read_text() if (tmp_path / "told").exists() else ""):
            browser.check()
        assert told.endswith("http://page/") and "--enable-unsafe-webgpu" in told
    assert browser._process.returncode is not None


def test_one_that_ends_is_told_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setenv(
        chromium.VARIABLE, str(program(tmp_path / "browser", "import sys\nsys.exit('no display')"))
    )
    with headless("http://page/") as browser:
        browser._process.wait()
        with pytest.raises(TargetError, match="ended with code 1: no display; what was timed is kept"):
            browser.check()


def test_one_that_cannot_be_started(tmp_path, monkeypatch):
    odd = tmp_path / "browser"
    odd.write_text("#!/no/such/interpreter\n")
    odd.chmod(0o755)
    monkeypatch.setenv(chromium.VARIABLE, str(odd))
    with pytest.raises(TargetError, match="cannot be started"), headless("http://page/"):
        pass
