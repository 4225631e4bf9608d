"""A made-up report, and a real browser to open pages in."""

from pathlib import Path

import pytest

from deploy_nas.core.spaces import embedded_space
from deploy_nas.report.page import Point, ReportData, block_of, run_block, slots_by_stage
from deploy_nas.search.efficiency import AnalyticalEfficiencyPredictor

SPACE = embedded_space()
SCRIPT = "<script>document.title = 'broken'</script>"


def point(name, architecture, top1):
    """A subnet whose layers take as long as they are wide and large."""
    layers = SPACE.layers(architecture)
    blocks = [block_of(place, layer, layer.out_channels * layer.in_size / 1e5) for place, layer in layers]
    latency_ms = sum(block.latency_ms for block in blocks) + 0.01
    return Point(
        name=name,
        latency_ms=latency_ms,
        bound_ms=1.1 * latency_ms,
        top1=top1,
        image_size=architecture["image_size"],
        figures=AnalyticalEfficiencyPredictor(SPACE).get_efficiency(architecture),
        architecture=architecture,
        blocks=[*blocks, run_block("(run itself)", 0.01)],
    )


@pytest.fixture(scope="session")
def data():
    """A made-up report on the middle one of three subnets."""
    nets = [SPACE.smallest(20), SPACE.largest(24), SPACE.largest(32)]
    front = [point(f"point {n} of the front", net, 80.0 + n) for n, net in enumerate(nets, start=1)]
    return ReportData(
        title=f"{SPACE.id} on a device",
        subtitle=SCRIPT,
        winner=point("the subnet reported on", SPACE.largest(28), 82.0),
        budget_ms=front[1].latency_ms * 1.5,
        front=front,
        cloud=[(p.latency_ms, p.top1 - 1) for p in front],
        pairs=[(1.0, 1.1, SCRIPT), (2.0, 1.9, "held-out network 2, 24 px")],
        timed=[(1.0, 1.05, "candidate 1")],
        facts=[("predicted top-1", "82.00%", "at 28 px")],
        profile_facts=[("device", "a device, 2 cores")],
        warnings=[SCRIPT],
        swaps=[("stage1.block1: kernel 5 to 3", 0.01, -0.2)],
        versions=[("deploy-nas", "0")],
        commands=["deploy-nas search --profile 'my p.json'", SCRIPT],
        accuracy_note="",
        max_slots=slots_by_stage(SPACE),
    )


@pytest.fixture
def at(browser):
    """``at(page, width, scheme)``: open the page so wide, in that colour scheme, "light" or "dark"."""

    def opened(page, width, scheme):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get("about:blank")  # what the browser itself opens at its start is not the page's doing
        browser.get_log("performance")
        browser.get(Path(page).as_uri())

    return opened
