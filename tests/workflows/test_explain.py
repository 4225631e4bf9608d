"""Where the milliseconds go, as the command says it."""

import json

import pytest

from deploy_nas.core.spaces import get_space
from deploy_nas.records.profile import load_profile

pytestmark = pytest.mark.shared_out

SPACE = "ofa-mbv3-cifar10"
FEW = ("--population", 60, "--generations", 4)


def test_explain_lists_layers_and_swaps(run, profiles, tmp_path):
    run("search", "--profile", profiles[0], "--max-latency-ms", 0.4, *FEW)
    found = json.loads(run("explain", "best.json", "--profile", profiles[0], "--json").stdout)
    assert sum(layer["latency_ms"] for layer in found["layers"]) == pytest.approx(found["total_ms"])
    assert found["layers"][0]["place"] == "stem" and len(found["swaps"]) == 10
    first = found["swaps"][0]
    space, profile = get_space(SPACE), load_profile(tmp_path / profiles[0])
    after = profile.latency_ms(space.encode([first["architecture"]]))[0]
    assert found["total_ms"] - after == pytest.approx(first["saved_ms"])
    assert "swaps that save the most time" in run("explain", "best.json", "--profile", profiles[0]).output
