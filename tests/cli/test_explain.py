"""``deploy-nas explain``: layers, their shares and swaps, in a table or as JSON."""

import json

import pytest

from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.core.spaces import embedded_space, get_space
from deploy_nas.workflows import question


@pytest.fixture
def asked(monkeypatch):
    """The predictor and the anchors that were asked for; the space's own is used."""
    found = []

    def predictor_for(profile, source, anchors=()):
        found.append((source, anchors))
        return load_accuracy_predictor(embedded_space(), "embedded")

    monkeypatch.setattr(question, "predictor_for", predictor_for)
    return found


def test_layers_add_up_and_as_many_swaps_as_asked(run, profile, architecture, tmp_path):
    architecture.write_text(json.dumps({"space": embedded_space().id, **embedded_space().largest()}))
    found = json.loads(run("explain", architecture, "--profile", profile, "--swaps", 3, "--json").stdout)
    assert sum(layer["latency_ms"] for layer in found["layers"]) == pytest.approx(found["total_ms"])
    assert sum(layer["share_percent"] for layer in found["layers"]) == pytest.approx(100)
    assert len(found["swaps"]) == 3 and set(found["swaps"][0]) == {"what", "saved_ms", "lost", "architecture"}


def test_a_table_of_layers_then_of_swaps(run, profile, tmp_path):
    (tmp_path / "l.json").write_text(json.dumps({"space": embedded_space().id, **embedded_space().largest()}))
    said = run("explain", "l.json", "--profile", profile).stdout
    layers, swaps = said.split("\nswaps that save the most time for the least predicted accuracy:\n")
    assert layers.splitlines()[2].startswith("stem") and "predicted on fake, predicted top-1" in layers
    assert len(swaps.splitlines()) == 2 + 10


def test_no_swaps_are_listed_for_none_asked(run, profile, architecture):
    assert "swaps" not in run("explain", architecture, "--profile", profile, "--swaps", 0).stdout


def test_predictor_and_anchors_are_handed_on(run, profile, architecture, asked):
    run(
        "explain",
        architecture,
        "--profile",
        profile,
        "--predictor",
        "p.onnx",
        "--anchor",
        "a=1",
        "--anchor",
        "b",
    )
    assert asked == [("p.onnx", ("a=1", "b"))]


def test_what_does_not_fit(run, profile, tmp_path, made_profile):
    other = get_space("ofa-mbv3-w1.0")
    (tmp_path / "w.json").write_text(json.dumps({"space": other.id, **other.largest()}))
    said = run("explain", "w.json", "--profile", profile, code=2).stderr
    assert (
        f"profile {made_profile().id}: is of space ofa-mbv3-cifar10, the architecture of {other.id}" in said
    )
    (tmp_path / "x.json").write_text("{}")
    said = run("explain", "x.json", "--profile", profile, code=2).stderr
    assert said == "error: x.json: is not an architecture file: 'space' is missing\n"
    assert "--profile" in run("explain", "w.json", code=2).stderr
