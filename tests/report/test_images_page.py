"""The page's sections on images: there only with data, readable without script, safe with any name."""

import html
import re
from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.adapters.thumbnails import thumbnail
from deploy_nas.core.measured import Top1
from deploy_nas.core.spaces import embedded_space
from deploy_nas.records.evaluation import Evaluation, Mistake
from deploy_nas.records.supernet import JudgedSubnet
from deploy_nas.report.evaluation import evaluation_shown
from deploy_nas.report.page import render_report
from deploy_nas.report.training import Phase, TrainingShown

SPACE = embedded_space()
HOSTILE = (
    "<img src=x onerror=\"document.title='broken'\">",
    "</script><script>document.title='broken'</script>",
    "\"' onload=\"document.title='broken'\" x='",
    "{{ 7 * 7 }}{% raw %}",
    "a_very_long_name_without_any_break_that_a_browser_could_use_to_wrap_it_on_a_narrow_screen",
    "größe/日本語 🐈",
)
LABELS = (*HOSTILE, *(f"class {n}" for n in range(6, 20)))


def found(labels=LABELS, mistakes=6):
    """An evaluation: every class has 40 images, more and more of them taken for the next one."""
    count, rng = len(labels), np.random.default_rng(0)
    confusion = np.diag(np.full(count, 40))
    for label in range(count):
        wrong = min(label, 39)
        confusion[label, label] -= wrong
        confusion[label, (label + 1) % count] += wrong
    pictures = rng.integers(0, 256, (mistakes, 3, 64, 64), dtype=np.uint8)
    return Evaluation(
        labels=tuple(labels),
        confusion=tuple(map(tuple, confusion.tolist())),
        mistakes=tuple(
            Mistake(
                name=f"{labels[n % count]}/{n}.jpg",
                label=n % count,
                guess=(n + 1) % count,
                confidence=0.97 - n / 100,
                thumbnail=thumbnail(picture, 96),
            )
            for n, picture in enumerate(pictures)
        ),
        images=40 * count,
    )


TRAINING = TrainingShown(
    lead="Trained on 1,280 images of 20 classes, judged on 226 held out of them.",
    facts=[("trained for", f"11.0 epochs, 1 h 05 min, on {HOSTILE[0]}")],
    curve=[(n / 4, 3.0 * 0.9**n, f"{n} min") for n in range(1, 45)],
    phases=[
        Phase(what="the largest subnet alone", begins=0.0),
        Phase(what=HOSTILE[1], begins=2.0),
        Phase(what="weights tuned", begins=10.0),
    ],
    subnets=[
        JudgedSubnet(
            name=f"{name}, 24 px",
            architecture=SPACE.smallest(24),
            million_macs=5.25,
            top1=Top1(right=right, images=226),
        )
        for name, right in (("smallest", 200), ("largest", 215))
    ],
)


@pytest.fixture(scope="module")
def whole(data):
    trained_on = dict.fromkeys(LABELS, 64)
    return replace(data, training=TRAINING, evaluation=evaluation_shown(found(), trained_on))


@pytest.fixture(scope="module")
def page(whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(whole), encoding="utf-8")
    return path


def sections(text):
    return re.findall(r'<section class="card" id="(\w+)"', text)


def test_a_section_is_there_only_with_its_data(data, whole):
    assert sections(render_report(data)) == ["selected"]
    everything = ["selected", "classes", "confusion", "mistakes", "training"]
    assert sections(render_report(whole)) == everything
    assert sections(render_report(replace(data, training=TRAINING))) == ["selected", "training"]
    without = evaluation_shown(found(mistakes=0))
    text = render_report(replace(data, evaluation=without))
    assert sections(text) == ["selected", "classes", "confusion"] and "trained on</th>" not in text


def test_a_training_without_curve_and_subnets_is_told_too(data):
    text = render_report(replace(data, training=replace(TRAINING, curve=[], phases=[], subnets=[])))
    assert 'id="curve"' not in text and "Subnets on the validation" not in text and TRAINING.lead in text


def test_it_can_be_read_without_the_script(page):
    text = re.sub(r"<script.*?</script>", "", page.read_text(), flags=re.DOTALL)
    words = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())
    for said in (
        "class 19 52.5% 37 to 67% 40 64",
        "76.2% of 800 images are right; the mean of the classes is 76.2%.",
        f"is {HOSTILE[3]} , guessed {HOSTILE[4]} with 94%",
        "smallest, 24 px 5.25 88.5%",
        TRAINING.lead,
        "the largest subnet alone",
    ):
        assert said in words, said


def test_every_picture_is_in_the_page_and_described(page):
    text = page.read_text()
    images = re.findall(r"<img [^>]*>", text)
    assert len(images) == 6
    assert all(
        re.match(r'<img src="data:image/jpeg;base64,[\w+/=]+" alt="An image of class ', i) for i in images
    )
    assert page.stat().st_size < 300_000


def test_no_class_name_can_break_out(page):
    text = page.read_text()
    for name in HOSTILE[:3]:
        assert (
            name not in text
            and str(html.escape(name)).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in text
        )
    assert HOSTILE[3] in text  # is not a template
    assert text.count("</script>") == 2


def test_more_classes_than_a_matrix_can_show_have_pairs(data):
    many = found([f"class {n}" for n in range(40)], mistakes=0)
    text = render_report(replace(data, evaluation=evaluation_shown(many)))
    assert 'class="matrix"' not in text and "taken for" in text and "The other 10 classes" in text
    right = Evaluation(
        labels=many.labels,
        confusion=tuple(map(tuple, np.eye(40, dtype=int).tolist())),
        mistakes=(),
        images=40,
    )
    assert "Every image was classified correctly" in render_report(
        replace(data, evaluation=evaluation_shown(right))
    )


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
@pytest.mark.slow
def test_in_a_real_browser(browser, at, page, width, scheme):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    at(page, width, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert browser.execute_script("return document.title") == f"{SPACE.id} on a device"
    assert len(browser.find_elements(By.CSS_SELECTOR, "img")) == 6
    sizes = browser.execute_script("return [...document.images].map((i) => i.naturalWidth)")
    assert sizes == [64] * 6
    line = browser.find_element(By.CSS_SELECTOR, "#curve polyline")
    assert len(line.get_attribute("points").split()) == len(TRAINING.curve)
    labels = [e.text for e in browser.find_elements(By.CSS_SELECTOR, "#curve text.ink")]
    assert labels == ["1", "2", "3"]
    x, y = map(float, line.get_attribute("points").split()[20].split(","))
    chart = browser.find_element(By.ID, "curve")
    middle = chart.size["width"] / 2, chart.size["height"] / 2
    offset = [round(here - half) for here, half in zip((x, y), middle, strict=True)]
    ActionChains(browser).move_to_element_with_offset(chart, *offset).perform()
    tip = browser.find_element(By.ID, "tip").text
    assert tip.startswith("epoch 5.3, after 21 min") and tip.endswith(HOSTILE[1])
    cells = browser.find_elements(By.CSS_SELECTOR, ".matrix td")
    assert len(cells) == 400
    shade = "return getComputedStyle(arguments[0]).backgroundColor"
    assert len({browser.execute_script(shade, cell) for cell in cells[:3]}) > 1
