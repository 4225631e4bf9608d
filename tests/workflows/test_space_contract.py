"""The contract every space keeps, from its declaration to a verified file; at small images, for real.

A space enters by its id: nothing here knows what kind of network it is. tests/core/test_space.py holds
what needs no supernet.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from deploy_nas.workflows.deploy_subnet import ExportRequest, export_subnet
from ofa.utils.pytorch_utils import count_net_flops

from deploy_nas.accuracy.encoding import feature_layout
from deploy_nas.accuracy.predictor import AccuracyPredictor, save_accuracy_predictor
from deploy_nas.adapters import graphs, supernets
from deploy_nas.adapters.mlp import MLP
from deploy_nas.core import spaces
from deploy_nas.core.errors import ArchitectureError
from deploy_nas.deploy.export import check_agreement
from deploy_nas.profiling.plan import ProfilePlan
from deploy_nas.search.efficiency import AnalyticalEfficiencyPredictor
from deploy_nas.workflows import profile as profiling
from deploy_nas.workflows.bundle import verify_path
from deploy_nas.workflows.search import SearchRequest, search_file

SIDE = 32
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]


# A space's tests share its supernet; other spaces' may run beside them.
EACH = [pytest.param(name, marks=pytest.mark.xdist_group(f"contract of {name}")) for name in spaces._SPACES]


@pytest.fixture(scope="module", params=EACH)
def space(request):
    """The space with small images only, under its own id while this module's tests run."""
    before = {name: spaces.get_space(name) for name in spaces._SPACES}
    small = replace(before[request.param], image_sizes=(SIDE,), profile_image_sizes=(SIDE,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(spaces._SPACES, small.id, lambda: small)
        spaces.get_space.cache_clear()
        yield small
    spaces.get_space.cache_clear()
    # the very objects of before: other modules hold them
    spaces._SPACES.update({name: lambda kept=kept: kept for name, kept in before.items()})


@pytest.fixture(scope="module")
def net(space, randomise):
    return randomise(supernets.build_supernet(space))


@pytest.fixture
def architectures(space):
    rng = np.random.default_rng(0)
    return [space.sample(rng) for _ in range(5)]


def test_choices(space, architectures):
    figures = AnalyticalEfficiencyPredictor(space).get_efficiency
    least, most = figures(space.smallest(SIDE)), figures(space.largest(SIDE))
    for architecture in architectures:
        found = figures(architecture)
        assert all(least[name] <= found[name] <= most[name] for name in found)
        assert space.decode(space.encode([architecture]))[0] == architecture
    for key, columns in space.gene_columns.items():
        gene = space.genes[columns[0] - 1]
        bad = architecture | {key: 99 if gene.index is None else [99] * len(columns)}
        with pytest.raises(ArchitectureError, match=key):
            space.validate(bad)
        if gene.index is not None:
            with pytest.raises(ArchitectureError, match=f"{key}: must be a list of {len(columns)}"):
                space.validate(architecture | {key: architecture[key] * 2})
    with pytest.raises(ArchitectureError, match="image_size"):
        space.validate(architecture | {"image_size": SIDE + 1})


def test_layers_and_graphs_are_ofas_own(space, net, architectures):
    x = np.random.default_rng(1).standard_normal((1, 3, SIDE, SIDE), dtype=np.float32)
    for number, architecture in enumerate(architectures):
        taken = supernets.subnet(net, architecture)
        layers = space.layers(architecture)
        assert sum(layer.params for _, layer in layers) == sum(p.numel() for p in taken.parameters())
        weights = supernets.folded_weights(space, architecture, taken)
        assert {name: value.shape for name, value in weights.items()} == graphs.weight_shapes(layers)
        model = graphs.build_model(layers, weights)
        difference, allowed = check_agreement(model, taken, x, batch=1)
        assert difference <= allowed
        if number > 1:  # what follows is slow, and says the same of each
            continue
        # the supernet itself, set to that subnet, gives the same
        supernets.activate(net, architecture)
        whole = supernets.forward(net.eval(), x)
        np.testing.assert_allclose(supernets.forward(taken, x), whole, atol=allowed)
        macs = sum(layer.macs for _, layer in layers)
        assert macs == pytest.approx(count_net_flops(taken, (1, 3, SIDE, SIDE)), rel=1e-3)


def test_from_profile_to_verified_file(space, net, tmp_path, monkeypatch, quick_settings):
    """As the commands do it, with a checkpoint of the class that ``ofa`` makes."""
    if space.id == "ofa-mbv3-w1.0":
        pytest.skip("differs from ofa-mbv3-w1.2 in its widths alone, and this is slow")
    whole = profiling.settings_for
    quick = quick_settings | dict.fromkeys(("rounds", "row_rounds", "passes", "least_runs", "warmup_runs"), 1)
    quick |= {"burst_ms": 0.1, "row_burst_ms": 0.1, "sentinel_burst_ms": 0.1}
    monkeypatch.setattr(profiling, "settings_for", lambda r: replace(whole(r), **quick))
    plan = ProfilePlan(space=space, image_sizes=(SIDE,), fit_per_size=4, validation_per_size=3)
    monkeypatch.setattr(profiling, "make_plan", lambda *a, **k: plan)
    request = profiling.ProfileRequest(space=space.id, output=tmp_path / "p.json", quick=True)
    profile = profiling.profile_device(request)
    assert {row.key for row in profile.rows} == {layer.key for layer in space.rows}

    layout = feature_layout(space)
    rng = np.random.default_rng(2)
    weight = rng.random((len(layout.columns), 1), dtype=np.float32)
    predictor = AccuracyPredictor(space=space, layout=layout, mlp=MLP(members=(((weight, np.zeros(1)),),)))
    save_accuracy_predictor(predictor, tmp_path / "a.onnx")
    encoded = space.encode([space.smallest(SIDE), space.largest(SIDE)])
    budget = float(profile.latency_ms(encoded).max() * profile.upper_ratio(0.95) + 1.0)
    search = SearchRequest(
        budgets={"latency_ms": budget, "millionMACs": 1e6},
        predictor=str(tmp_path / "a.onnx"),
        hyper={"population_size": 10, "max_time_budget": 3},
        allow_unstable=True,
    )
    record = search_file(profile, tmp_path / "best.json", search).record
    assert json.loads((tmp_path / "best.json").read_text())["space"] == space.id

    torch.save({"state_dict": net.state_dict()}, tmp_path / "net.pth")
    export = ExportRequest(
        architecture=tmp_path / "best.json", output=tmp_path / "m.onnx", weights=str(tmp_path / "net.pth")
    )
    report = export_subnet(export)
    assert report.weights.trained and report.architecture == record.architecture
    found = verify_path(tmp_path / "m.onnx", profile=tmp_path / "p.json")[0].verification
    assert found.measured.latency_ms > 0 and found.predicted_ms == pytest.approx(
        record.predicted["latency_ms"], rel=1e-4
    )
    assert found.budget_ms == pytest.approx(budget)
