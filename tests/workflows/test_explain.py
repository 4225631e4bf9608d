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


def test_a_network_faster_than_its_layers_together_has_no_negative_part(made_profile):
    from dataclasses import replace

    from deploy_nas.records.architecture import ArchitectureRecord
    from deploy_nas.workflows.explain import shares

    profile = made_profile()
    record = ArchitectureRecord(space=profile.space, architecture=profile.space.largest())
    faster = replace(profile, offset_ms=(-0.05,) * len(profile.image_sizes))
    parts, total = shares(faster, record)
    assert min(part.latency_ms for part in parts) > 0 and all(part.key for part in parts)
    assert abs(sum(part.latency_ms for part in parts) - total) < 1e-9
