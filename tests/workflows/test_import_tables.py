"""OFA's published tables as profiles, against ofa's own classes; and tables that are no good."""

import json

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from deploy_nas.cli import main
from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.families.stages import mbconv
from deploy_nas.core.layers import Conv, GlobalPool, Layer, Linear
from deploy_nas.core.spaces import get_space, space_ids
from deploy_nas.device import machine
from deploy_nas.profiling.imported import missing_keys, ofa_keys
from deploy_nas.records.profile import load_profile
from deploy_nas.workflows.import_tables import import_ofa

SPACE = "ofa-mbv3-w1.2"


@pytest.fixture(scope="module")
def note10(data_dir):
    folder = data_dir / "ofa" / "note10"
    if not folder.is_dir():
        pytest.skip(f"no published tables in {folder}")
    return folder


def synthetic(space, size):
    """A table in which every key of a space has a time of its own."""
    index = int(space.image_size_indices([size])[0])
    layers = [x for x, held in zip(space.rows, space.row_sizes(), strict=True) if int(held) >> index & 1]
    keys = sorted({key for layer in layers for key in ofa_keys(layer)})
    return {key: {"count": 3, "mean": 0.1 + 0.001 * i, "std": 0.01} for i, key in enumerate(keys)}


@pytest.fixture
def folder(tmp_path):
    """One small table of the embedded space."""
    place = tmp_path / "phone"
    place.mkdir()
    table = synthetic(get_space("ofa-mbv3-cifar10"), 24)
    (place / "24_lookup_table.yaml").write_text(yaml.safe_dump(table))
    return place


def test_note10_agrees_with_ofas_own_table(note10, tmp_path, rng):
    from ofa.tutorial.latency_table import LatencyEstimator

    profile = import_ofa(note10, tmp_path / "p.json")
    assert profile.space.id == SPACE and profile.image_sizes == (160, 176, 192, 208, 224)
    assert load_profile(tmp_path / "p.json").id == profile.id
    tables = {}
    for size in profile.image_sizes:
        tables[size] = LatencyEstimator.__new__(LatencyEstimator)  # its constructor fails on PyYAML 6
        tables[size].lut = yaml.safe_load((note10 / f"{size}_lookup_table.yaml").read_text())
    encoded = profile.space.sample_encoded(rng, 300, profile.image_sizes)
    theirs = [
        tables[a["image_size"]].predict_network_latency_given_spec({**a, "r": [a["image_size"]]})
        for a in profile.space.decode(encoded)
    ]
    np.testing.assert_allclose(profile.latency_ms(encoded), theirs, rtol=0, atol=1e-6)


def test_proxyless_keys_are_those_ofa_asks_for():
    """Every key that ofa's table is asked for of a Proxyless subnet is one of ours, by hand or by space."""
    from ofa.imagenet_classification.elastic_nn.networks import OFAProxylessNASNets
    from ofa.nas.efficiency_predictor import ProxylessNASLatencyTable

    class Asked(dict):
        def __missing__(self, key):
            self[key] = {"mean": 1.0}
            return self[key]

    net = OFAProxylessNASNets(
        width_mult=1.3, ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4]
    )
    net.set_active_subnet(ks=5, e=4, d=3)
    table = ProxylessNASLatencyTable.__new__(ProxylessNASLatencyTable)
    table.lut = Asked()
    table.predict_network_latency_given_config(net.get_active_net_config(), 160)
    asked = set(table.lut)
    if "ofa-proxyless-w1.3" in space_ids():
        space = get_space("ofa-proxyless-w1.3")
        assert asked <= set(synthetic(space, 160))
    block = mbconv(
        in_channels=32,
        mid_channels=128,
        out_channels=56,
        in_size=40,
        kernel=5,
        stride=2,
        activation="relu6",
        squeeze=False,
        residual=False,
    )
    stem = Conv(role="conv", in_channels=3, out_channels=40, kernel=3, stride=2, activation="relu6")
    mix = Conv(role="mix", in_channels=416, out_channels=1664, activation="relu6")
    tail = (
        mix,
        GlobalPool(role="pool", channels=1664),
        Linear(role="classifier", in_channels=1664, out_channels=1000),
    )
    stem_layer = Layer(kind="stem", in_channels=3, in_size=160, ops=(stem,))
    tail_layer = Layer(kind="tail", in_channels=416, in_size=5, ops=tail)
    ours = {key for layer in (stem_layer, block, tail_layer) for key in ofa_keys(layer)}
    assert ours <= asked and len(ours) == 4


def test_import_is_marked_and_searched_without_a_bound(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    done = run(main, ["profiles", "import-ofa", str(folder)])
    assert done.exit_code == 0 and "UNVALIDATED" in done.output, done.output
    profile = load_profile(tmp_path / "phone.profile.json")
    assert profile.imported.device == "phone" and not profile.validated
    (difference,) = profile.differences(machine.fingerprint_like(profile.fingerprint))
    assert str(difference).startswith("imported: a table of phone")
    assert "imported" in run(main, ["profiles", "list"]).output
    assert run(main, ["profiles", "show", "phone.profile.json"]).exit_code == 0
    search = ["search", "--profile", "phone.profile.json", "--max-latency-ms", "3"]
    search += ["--generations", "3", "--population", "100"]
    said = run(main, search).output
    assert "no bound" in said
    predicted = json.loads((tmp_path / "best.json").read_text())["predicted"]
    assert predicted["bound_ms"] is None and 2.7 < predicted["latency_ms"] <= 3.0


@pytest.mark.parametrize("gone", [1, 3])
def test_an_incomplete_table_is_told_what_its_own_space_lacks(tmp_path, gone):
    table = synthetic(get_space(SPACE), 224)
    lost = sorted(table)[:gone]
    (tmp_path / "224_lookup_table.yaml").write_text(
        yaml.safe_dump({key: value for key, value in table.items() if key not in lost})
    )
    with pytest.raises(MismatchError, match=f"of the nearest, {SPACE}: table of 224 px: no key"):
        import_ofa(tmp_path, tmp_path / "p.json")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no layer"),
        ("a: [", "plain YAML"),
        ("!!python/object/apply:os.system ['true']", "plain YAML"),
        ("a: 3", "'mean'"),
        ("a: {mean: .nan}", "finite"),
        ("a: {mean: -1.0}", "positive"),
        ("a: {mean: 1.0}", "lack layers of every space"),
    ],
)
def test_tables_that_are_no_good(folder, tmp_path, text, says):
    (folder / "24_lookup_table.yaml").write_text(text)
    with pytest.raises((RecordError, MismatchError), match=says):
        import_ofa(folder, tmp_path / "p.json")
    assert not (tmp_path / "p.json").exists()


def test_a_missing_layer_and_a_missing_table_are_named(folder, tmp_path):
    path = folder / "24_lookup_table.yaml"
    table = yaml.safe_load(path.read_text())
    gone = next(key for key in table if key.startswith("expanded_conv"))
    path.write_text(yaml.safe_dump({k: v for k, v in table.items() if k != gone}))
    with pytest.raises(MismatchError, match=gone):
        import_ofa(folder, tmp_path / "p.json", space="ofa-mbv3-cifar10")
    path.unlink()
    with pytest.raises(RecordError, match="no latency table"):
        import_ofa(folder, tmp_path / "p.json")
    assert missing_keys(get_space(SPACE), {32: {}}) == [f"{SPACE} has no image size 32"]
