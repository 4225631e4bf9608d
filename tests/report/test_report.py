"""The page: self-contained, safe with any text, and alive in a real browser."""

import html
import json
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from deploy_nas.workflows.report_facts import commands_for

from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.core.errors import MismatchError, OutputError
from deploy_nas.core.spaces import get_space
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.report.page import block_of
from deploy_nas.workflows.pareto import find_front
from deploy_nas.workflows.question import SearchRequest
from deploy_nas.workflows.report import ReportRequest, report_data, report_file, write_report
from deploy_nas.workflows.search import search

SPACE = "ofa-mbv3-cifar10"
SCRIPT = "<script>document.title = 'broken'</script>"


@pytest.fixture(scope="module")
def request_made(made_profile):
    profile, predictor = made_profile(), load_accuracy_predictor(SPACE, "embedded")
    asked = SearchRequest(
        budgets={"latency_ms": 0.35}, hyper={"population_size": 100, "max_time_budget": 5}, seed=3
    )
    record, _ = search(profile, predictor, asked)
    asked_of_front = SearchRequest(budgets={})
    paths = {"profile": "my p.json", "best": "b.json", "model": "b.onnx", "report": "r.html"}
    return ReportRequest(
        record=record,
        profile=profile,
        predictor=predictor,
        front=find_front(profile, predictor, asked_of_front, evaluations=4000)[0],
        commands=[*commands_for(record, profile, paths=paths), SCRIPT],
    )


@pytest.fixture(scope="module")
def page(request_made, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(request_made, path)
    return path


def test_data_is_what_the_profile_predicts(request_made):
    data = report_data(request_made)
    total = sum(block.latency_ms for block in data.winner.blocks)
    assert total == pytest.approx(data.winner.latency_ms, abs=1e-4)
    assert data.winner.latency_ms == pytest.approx(request_made.record.predicted["latency_ms"])
    assert data.budget_ms == 0.35 and data.verdict == "" and len(data.pairs) == 40
    costs = [point.latency_ms for point in data.front]
    assert costs == sorted(costs) and len(costs) > 20
    assert data.commands[0].startswith("deploy-nas profile --space ofa-mbv3-cifar10")
    assert "'my p.json'" in data.commands[1] and "--max-latency-ms 0.35" in data.commands[1]
    assert data.max_slots == {f"stage{i}": 4 for i in range(1, 6)}


def test_a_block_is_drawn_by_its_depthwise_convolution():
    space = get_space("ofa-mbv3-w1.0")
    block = block_of("stage2.block1", dict(space.layers(space.largest(224)))["stage2.block1"], 1.0)
    assert (block.in_size, block.out_size, block.channels) == (56, 28, 40)
    assert (block.kernel, block.middle, block.squeeze, block.stride) == (7, 144, True, 2)


@pytest.mark.parametrize(
    ("place", "kernel", "middle", "stride"),
    [("stem.conv2", 3, 64, 2), ("stage2.block1", 3, 512, 2), ("tail", 0, 0, 1)],
)
def test_layers_of_resnet50_are_drawn_too(place, kernel, middle, stride):
    space = get_space("ofa-resnet50")
    layer = dict(space.layers(space.largest(224)))[place]
    block = block_of(place, layer, 0.25)
    assert (block.kind, block.key, block.latency_ms) == (layer.kind, layer.key, 0.25)
    assert (block.kernel, block.middle, block.squeeze, block.stride) == (kernel, middle, False, stride)


def test_the_page_needs_no_network_and_escapes_text(page):
    text = page.read_text()
    assert page.stat().st_size < 600_000
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", text)
    assert not re.findall(r"url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)", text)
    assert SCRIPT not in text and html.escape(SCRIPT, quote=False).replace("'", "&#39;") in text


def test_commands_repeat_what_was_asked_and_are_quoted(request_made):
    asked = {
        "profiles": {"latency_ms": "a", "latency_ms@my phone": "b"},
        "budgets": {"latency_ms": 0.35, "latency_ms@my phone": 6.0, "millionMACs": 9.0},
        "confidence": None,
        "predictor": "my acc.onnx",
        "anchors": ["a b.json=80"],
        "image_sizes": [24],
        "bytes_per_element": 4,
        "hyper": {"population_size": 60, "max_time_budget": 50},
        "seed": 3,
        "measure_top": 4,
    }
    paths = {name: name for name in ("profile", "best", "model", "report")}
    record, profile = request_made.record, request_made.profile
    said = commands_for(record, profile, paths=paths, asked=asked)[1]
    for part in (
        "--profile 'my phone'.profile.json --max-latency-ms 6",
        "--max-macs-millions 9",
        "--confidence none",
        "--predictor 'my acc.onnx' --anchor 'a b.json=80'",
        "--image-sizes 24",
        "--bytes-per-element 4",
        "--population 60 --measure-top 4",
        "--seed 3",
    ):
        assert part in said
    assert "--generations" not in said
    hostile = replace(record, predicted={**record.predicted, "picked": "knee; rm -rf ~"})
    assert "--pick 'knee; rm -rf ~'" in commands_for(hostile, profile, paths=paths)[1]


def test_figures_of_another_model_or_profile_are_not_shown_as_these(request_made, tmp_path):
    from deploy_nas.deploy.export import export_onnx
    from deploy_nas.records.architecture import save_architecture
    from deploy_nas.records.profile import save_profile
    from deploy_nas.records.result import save_result

    save_profile(request_made.profile, tmp_path / "p.json")
    save_architecture(request_made.record, tmp_path / "b.json")
    space = request_made.profile.space
    export_onnx(space.smallest(20), tmp_path / "other.onnx", space=space, weights="random")
    with pytest.raises(MismatchError, match=r"other\.onnx: is another architecture"):
        report_file(
            tmp_path / "b.json", tmp_path / "p.json", tmp_path / "r.html", model=tmp_path / "other.onnx"
        )
    save_result(request_made.front, tmp_path / "front.json")
    front = {"front": tmp_path / "front.json", "output": tmp_path / "f.html"}
    report_file(tmp_path / "b.json", tmp_path / "p.json", **front)
    other = replace(request_made.profile, sentinel_ms=2 * request_made.profile.sentinel_ms)
    save_profile(other, tmp_path / "q.json")
    with pytest.raises(MismatchError, match=r"front\.json: is of another profile"):
        report_file(tmp_path / "b.json", tmp_path / "q.json", **front, force=True)
    elsewhere = {**request_made.record.predicted, "profile": "another"}
    data = report_data(replace(request_made, record=replace(request_made.record, predicted=elsewhere)))
    assert data.budget_ms is None and "another profile" in data.warnings[0]


def test_of_the_second_of_two_devices_the_budget_there_is_shown(request_made):
    profile = request_made.profile
    other = {"device": "slow", "profile": profile.id, "latency_ms": 1.0, "bound_ms": None, "budget_ms": 6.0}
    predicted = {**request_made.record.predicted, "profile": "the first", "others": [other]}
    record = replace(request_made.record, predicted=predicted)
    data = report_data(replace(request_made, record=record))
    assert data.budget_ms == 6.0 and not any("another profile" in said for said in data.warnings)
    paths = {name: name for name in ("profile", "best", "model", "report")}
    assert not any("search" in line for line in commands_for(record, profile, paths=paths))


def test_other_spaces_and_files_that_are_there_are_refused(request_made, page):
    with pytest.raises(OutputError, match="--force"):
        write_report(request_made, page)
    other = get_space("ofa-mbv3-w1.0")
    wrong = ArchitectureRecord(space=other, architecture=other.smallest())
    changed = ReportRequest(record=wrong, profile=request_made.profile, predictor=request_made.predictor)
    with pytest.raises(MismatchError, match=r"w1\.0"):
        write_report(changed, page.with_name("new.html"))


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium of the system; the test says so and skips where there is none."""
    chromium = next(
        (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), ""
    )
    chromedriver = shutil.which("chromedriver")
    if not chromium or chromedriver is None:
        pytest.skip("no Chromium with chromedriver here: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (the dev extra)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"):
            options.add_argument(f"--{flag}")
        for flag in ("disable-background-networking", "disable-component-update", "disable-sync"):
            options.add_argument(f"--{flag}")
        options.add_argument(f"--user-data-dir={home}")
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
        yield driver
        driver.quit()


def _at(browser, page, width, scheme):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get("about:blank")  # what the browser itself opens at its start is not the page's doing
    browser.get_log("performance")
    browser.get(Path(page).as_uri())


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.slow
def test_in_a_real_browser_it_fits_and_keeps_quiet(browser, page, width, scheme):
    _at(browser, page, width, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    red = int(re.findall(r"\d+", back)[0])
    assert red < 60 if scheme == "dark" else red > 200
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert Path(page).as_uri() in urls
    assert all(url.startswith(("file:", "data:", "chrome:")) for url in urls), urls


@pytest.mark.slow
def test_clicks(browser, page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    _at(browser, page, 1400, "light")
    which, details = browser.find_element(By.ID, "which"), browser.find_element(By.ID, "details")
    assert which.text == "reported on"
    before, bars = details.text, len(browser.find_elements(By.CSS_SELECTOR, "#layers .bar"))
    first = browser.find_element(By.CSS_SELECTOR, "#front circle.dot")
    ActionChains(browser).move_to_element(first).perform()
    tip = browser.find_element(By.ID, "tip")
    assert "point 1 of the front" in tip.text and "million MACs" in tip.text
    ActionChains(browser).click().perform()
    assert which.text == "chosen: point 1 of the front" and details.text != before
    assert len(browser.find_elements(By.CSS_SELECTOR, "#layers .bar")) != bars
    browser.find_element(By.ID, "front").send_keys(Keys.ARROW_RIGHT)
    assert which.text == "chosen: point 2 of the front"
    browser.find_element(By.ID, "front").send_keys(Keys.HOME)
    assert which.text == "reported on" and details.text == before
    block = browser.find_element(By.CSS_SELECTOR, "#drawing rect.k5, #drawing rect.k3")
    ActionChains(browser).move_to_element(block).perform()
    assert "channels inside" in tip.text
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(colour)
    browser.find_element(By.ID, "theme").click()
    assert browser.execute_script(colour) != light
    assert browser.execute_script("return document.title").startswith(SPACE)
