"""A browser as a target: with a page that needs no browser, and once in real Chromium."""

import json
import re
import threading
from pathlib import Path

import pytest

from deploy_nas.adapters.kits import make_check_kit, make_kit
from deploy_nas.adapters.targets.browser import BrowserTarget, chromium, target, web_runtime
from deploy_nas.core.errors import DeployNASError, OptionError, ProviderError, TargetError
from deploy_nas.core.notices import telling
from deploy_nas.core.settings import Settings
from deploy_nas.device.check import CheckResult
from deploy_nas.device.journal import parse_journal
from deploy_nas.device.kit import split_result
from deploy_nas.device.measure import MeasureSettings


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr(target, "_GOODBYE_S", 0.05)


class Opened:
    """Opens each address that is told, in a page; ``pages`` keeps them."""

    def __init__(self, page):
        self.page, self.how, self.pages, self.told, self.seen = page, {}, [], [], []

    def progress(self, *told):
        self.seen.append(told)

    def __call__(self, text):
        self.told.append(text)
        if address := re.search(r"open (http\S+)", text):
            page = self.page(address[1], **self.how)
            self.pages.append(page)
            page.start()


def run(kit, folder, opened, options=()):
    with telling(opened):
        return BrowserTarget("page://127.0.0.1", folder).run_kit(kit, "run", opened.progress, options=options)


@pytest.fixture
def opened(fake_page):
    return Opened(fake_page)


def test_a_kit_gives_the_journal_of_any_other_device(package, quickly, tiny_kit, tiny_plan, tmp_path, opened):
    data = run(tiny_kit, tmp_path, opened)
    found = parse_journal(split_result(data, "r"), "r", finished=True)
    assert sorted(found.bursts) == [("aa:0", 0), ("aa:0", 1), ("aa:1", 0), ("aa:1", 1), ("row:r", 0)]
    assert found.header.arguments == tiny_plan.arguments
    assert found.header.fingerprint.browser == "Browser 1"
    assert found.header.conditions.clock_ms == 0.1 and found.header.settings.provider == "wasm"
    assert opened.seen[-1] == (5, 5, "row")
    (page,) = opened.pages
    page.join()
    assert page.ended["text"].startswith("done") and not page.ended["failed"]
    assert {task["total"] for task in page.tasks if task["do"] == "burst"} >= {5}
    assert any("steps of 0.1 ms" in text for text in opened.told)


def test_a_page_that_is_closed_halfway_loses_nothing(
    package, quickly, tiny_kit, tmp_path, opened, monkeypatch
):
    opened.how = {"leaves_after": 9}
    monkeypatch.setattr(target, "_PERSON_S", 0.3)
    with pytest.raises(TargetError, match=r"the page was away for .* what was timed is kept"):
        run(tiny_kit, tmp_path, opened, options=["--keep"])
    (journal,) = (tmp_path / "run").glob("*.journal")
    kept = len(journal.read_bytes().splitlines()) - 1
    assert 0 < kept < 5
    monkeypatch.setattr(target, "_PERSON_S", 30.0)
    opened.how = {}
    data = run(tiny_kit, tmp_path, opened, options=["--keep"])
    again = opened.pages[1]
    timed = [t for t in again.tasks if t["do"] == "burst" and t["least_runs"] == Settings().least_runs]
    assert len(timed) == 5 - kept
    assert len(parse_journal(split_result(data, "r"), "r").bursts) == 5
    before = len(opened.pages)
    assert split_result(run(tiny_kit, tmp_path, opened, options=["--keep"]), "r") == split_result(data, "r")
    assert len(opened.pages) == before + 1
    BrowserTarget("browser", tmp_path).remove_kit("run")
    assert not (tmp_path / "run").exists()


def test_a_reload_goes_on_and_another_browser_is_refused(package, quickly, tiny_kit, tmp_path, opened):
    opened.how = {"leaves_after": 6}
    done = threading.Event()

    def reload():
        opened.pages[0].join()
        opened.other = opened.page(opened.pages[0].url, page="other", agent="another browser")
        opened.other.start()
        opened.other.join()
        opened.again = opened.page(opened.pages[0].url, page="again")
        opened.again.start()
        done.set()

    def told(text):
        Opened.__call__(opened, text)
        if "open http" in text:
            threading.Thread(target=reload, daemon=True).start()

    with telling(told):
        data = BrowserTarget("page://127.0.0.1", tmp_path).run_kit(tiny_kit, "run")
    assert done.wait(10) and len(parse_journal(split_result(data, "r"), "r").bursts) == 5
    status, text = opened.other.refused
    assert status == 400 and "this run is of another browser" in json.loads(text)["error"]


def test_models_are_checked_in_the_page(package, quickly, tmp_path, opened):
    kit = make_check_kit({"m": b"model"}, MeasureSettings(rounds=2, pause_s=0.0))
    found = CheckResult.parse(run(kit, tmp_path, opened), "r")
    model = found.model("m", "r")
    assert model.measured.latency_ms == 2.0 and model.measured.runs == 20 and len(model.logits) == 2
    assert model.measured.conditions.clock_ms == 0.1 and model.measured.busy is None
    assert found.device.browser == "Browser 1"


def test_threads_that_the_page_cannot_have(package, quickly, tiny_plan, tmp_path, opened):
    opened.how = {"isolated": False}
    with pytest.raises(OptionError, match="only to pages of https and of loopback"):
        run(make_kit(tiny_plan, Settings(threads=2)), tmp_path, opened)
    (page,) = opened.pages
    page.join()
    assert page.ended["failed"] and "threads" in page.ended["text"]


def test_what_is_missing_is_said_before_anything_is_served(tmp_path, tiny_kit, opened, package, monkeypatch):
    monkeypatch.setenv(chromium.VARIABLE, "no-such-browser")
    with pytest.raises(TargetError, match="no-such-browser"):
        BrowserTarget("browser", tmp_path).run_kit(tiny_kit, "run")
    monkeypatch.setenv(web_runtime.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ProviderError, match="onnxruntime-web is not there"):
        run(tiny_kit, tmp_path, opened)
    assert not opened.told


@pytest.mark.parametrize("kit", [b"no zip", b"PK\x05\x06" + bytes(18)], ids=["damaged", "empty"])
def test_other_files_than_kits(kit, tmp_path):
    with pytest.raises(TargetError, match=r"damaged|only kits of deploy-nas"):
        BrowserTarget("browser", tmp_path).run_kit(kit, "run")


@pytest.mark.parametrize("address", ["page://", "page://h:99999", "page://h/x", "page://a b", "page://u@h"])
def test_addresses_of_no_form(address):
    with pytest.raises(TargetError, match="must be page://"):
        BrowserTarget(address)


def test_the_processor_of_a_page_is_not_known():
    assert BrowserTarget("browser").machine()
    with pytest.raises(TargetError, match="name the processor"):
        BrowserTarget("page://[::1]:80").machine()


@pytest.mark.slow
def test_real_chromium_times_real_networks(tmp_path):
    """Each of a few networks once, with onnxruntime-web; nothing is said about the times."""
    from deploy_nas.core.spaces import embedded_space
    from deploy_nas.profiling.plan import ProfilePlan

    try:
        chromium.find_browser(), web_runtime.find_web_runtime(Path(__file__).parent)
    except DeployNASError as error:
        pytest.skip(str(error))
    space = embedded_space()

    class Few(ProfilePlan):
        @property
        def blocks(self):
            return [block[:2] for block in super().blocks]

    plan = Few(space=space, image_sizes=(space.image_sizes[0],), fit_per_size=2, validation_per_size=1)
    settings = Settings(
        rounds=1, row_rounds=1, passes=1, extra_rounds=0, burst_ms=1, row_burst_ms=1, wait_s=0
    )
    data = BrowserTarget("browser", tmp_path).run_kit(make_kit(plan, settings), "run")
    found = parse_journal(split_result(data, "r"), "r", finished=True)
    assert found.bursts and found.header.fingerprint.build.startswith("cross-origin isolated")
    assert 0.0 < found.header.conditions.clock_ms < 0.1
