"""The page: self-contained, safe with any text, and alive in a real browser."""

import html
import json
import re
from pathlib import Path

import pytest

from deploy_nas.core.spaces import embedded_space, get_space
from deploy_nas.report.page import block_of, render_report, run_block, slots_by_stage

SPACE = embedded_space()
SCRIPT = "<script>document.title = 'broken'</script>"


@pytest.fixture(scope="module")
def page(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(data), encoding="utf-8")
    return path


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


def test_all_that_is_text_stands_there_without_the_script(data, page):
    text = html.unescape(re.sub(r"<script.*?</script>", "", page.read_text(), flags=re.DOTALL))
    said = [data.title, *data.commands[:1], *sum(data.facts, ()), *sum(data.profile_facts, ())]
    assert [line for line in said if line not in text] == []


def test_without_a_bound_and_a_measurement_the_page_is_made_too(data):
    from dataclasses import replace

    bare = replace(data.winner, bound_ms=None, measured_ms=None)
    assert "<html" in render_report(replace(data, winner=bare, budget_ms=None, timed=[], pairs=[]))


def test_a_run_has_no_layer_and_every_stage_its_places():
    assert (run_block("(run itself)", 0.5).kind, run_block("(run itself)", 0.5).key) == ("run", "")
    assert slots_by_stage(SPACE) == {f"stage{i}": 4 for i in range(1, 6)}
    assert slots_by_stage(get_space("ofa-mbv3-w1.0")) == {f"stage{i}": 4 for i in range(1, 6)}


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.slow
def test_in_a_real_browser_it_fits_and_keeps_quiet(browser, at, page, width, scheme):
    at(page, width, scheme)
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
def test_clicks(browser, at, page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    at(page, 1400, "light")
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
    assert browser.execute_script("return document.title").startswith(SPACE.id)
