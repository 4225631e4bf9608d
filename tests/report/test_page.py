"""The page of plain values: escaped, offline, and with a drawing for every kind of layer."""

import json
import re

from deploy_nas.core.figures import ANALYTICAL
from deploy_nas.core.spaces import get_space
from deploy_nas.report.page import Point, ReportData, block_of, render_report, run_block, slots_by_stage

SPACE = get_space("ofa-mbv3-cifar10")
HOSTILE = "</script><img src=x onerror=alert(1)>"


def point(name, architecture):
    blocks = [block_of(place, layer, 0.01) for place, layer in SPACE.layers(architecture)]
    return Point(
        name=name,
        latency_ms=0.5,
        bound_ms=0.6,
        top1=80.0,
        image_size=architecture["image_size"],
        figures={figure.name: 1.0 for figure in ANALYTICAL},
        architecture=architecture,
        blocks=[*blocks, run_block("run", 0.1)],
    )


def data(**changes):
    values = {
        "title": "title",
        "subtitle": "subtitle",
        "winner": point("winner", SPACE.smallest()),
        "budget_ms": 0.7,
        "front": [point(HOSTILE, SPACE.largest())],
        "cloud": [(1.0, 70.0)],
        "pairs": [(1.0, 1.1, "held out")],
        "timed": [],
        "facts": [("name", "value", "explanation")],
        "profile_facts": [("device", HOSTILE)],
        "warnings": [HOSTILE],
        "swaps": [("stage1: e 4 to 3", 0.0123, -0.5)],
        "versions": [("deploy-nas", "1")],
        "commands": ["deploy-nas search", HOSTILE],
        "max_slots": slots_by_stage(SPACE),
    }
    return ReportData(**{**values, **changes})


def test_a_block_describes_its_layer():
    place, layer = SPACE.layers(SPACE.largest())[2]
    block = block_of(place, layer, 1.23456789)
    assert (block.place, block.kind, block.key, block.latency_ms) == (place, layer.kind, layer.key, 1.234568)
    sizes = (block.in_size, block.out_size, block.channels, block.middle)
    assert sizes == (layer.in_size, layer.out_size, layer.out_channels, layer.middle_channels)
    assert (block.kernel, block.squeeze, block.stride) == (layer.kernel, layer.squeezes, layer.stride)
    assert run_block("run", 0.2).key == "" and run_block("run", 0.2).kind == "run"


def test_every_stage_has_its_slots():
    assert slots_by_stage(SPACE) == {f"stage{number}": 4 for number in range(1, 6)}


def test_text_is_escaped_everywhere():
    page = render_report(data(title=HOSTILE, subtitle=HOSTILE, accuracy_note=HOSTILE))
    assert "<img src=x" not in page
    assert page.count("</script>") == 2


def test_the_data_can_be_read_back():
    page = render_report(data())
    (held,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    drawn = json.loads(held)
    assert drawn["winner"]["name"] == "winner" and drawn["front"][0]["name"] == HOSTILE
    assert drawn["budget"] == 0.7 and drawn["pairs"] == [[1.0, 1.1, "held out"]]
    assert [figure["name"] for figure in drawn["figures"]] == [figure.name for figure in ANALYTICAL]
    assert len(drawn["winner"]["blocks"]) == len(SPACE.layers(SPACE.smallest())) + 1


def test_the_page_loads_nothing():
    page = render_report(data())
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert not re.findall(r"url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)", page)


def test_optional_parts_are_left_out_or_explained():
    whole = render_report(data(timed=[(1.0, 1.0, "a")], accuracy_note="3 points too high"))
    assert "budget 0.7 ms" in whole and "exported and timed (1)" in whole and "3 points too high" in whole
    assert "0.0123" in whole and "-0.50" in whole
    bare = render_report(data(budget_ms=None, pairs=[], swaps=[], warnings=[]))
    assert "budget" not in re.sub(r"<(style|script).*?</\1>", "", bare, flags=re.DOTALL)
    assert "There are no measurements" in bare and "No single change saves time." in bare
    assert "About the predicted accuracy" not in bare
