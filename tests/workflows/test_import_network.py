"""OFA's net.config files: the published ones, those that ``ofa`` writes, and every kind of bad one."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from ofa.imagenet_classification.networks import get_net_by_name

from deploy_nas.adapters import supernets
from deploy_nas.cli import main
from deploy_nas.core.errors import ArchitectureError, MismatchError, OptionError, RecordError
from deploy_nas.core.spaces import get_space
from deploy_nas.records.net_config import load_image_size, load_net_config
from deploy_nas.workflows.import_network import import_network

pytestmark = pytest.mark.slow

MOBILE = "flops-482M_top1-79.6_finetune-75"


@pytest.fixture(scope="module")
def published(data_dir):
    folder = data_dir / "ofa" / "specialized"
    if not folder.is_dir():
        pytest.skip(f"no published networks in {folder}")
    return folder


def test_every_published_network_becomes_an_architecture(published):
    """Those whose image size a space offers as they are, the others at the nearest one."""
    count = {}
    for folder in sorted(published.iterdir()):
        own = load_image_size(folder / "run.config")
        space = import_network(folder, image_size=224).space
        offered = own in space.image_sizes
        if not offered:
            with pytest.raises(ArchitectureError, match=f"is {own}; its layers fit {space.id}: use `image"):
                import_network(folder)
        size = own if offered else min(space.image_sizes, key=lambda side: abs(side - own))
        record = import_network(folder, image_size=None if offered else size)
        layers = [layer.key for _, layer in record.space.layers(record.architecture)]
        assert layers == [layer.key for layer in load_net_config(folder / "net.config").layers(size)]
        count[space.id] = count.get(space.id, 0) + 1
    assert count == {"ofa-mbv3-w1.0": 24, "ofa-mbv3-w1.2": 10, "ofa-proxyless-w1.3": 16}


def test_macs_and_parameters_are_those_of_ofas_own_build(published):
    """``ofa`` builds the network from the file by its own reader."""
    record = import_network(published / MOBILE)
    config = json.loads((published / MOBILE / "net.config").read_text())
    for block in config["blocks"]:  # names of an older ofa
        block["name"] = "ResidualBlock"
        block["mobile_inverted_conv"]["name"] = "MBConvLayer"
    net = get_net_by_name(config["name"]).build_from_config(config)
    layers = record.space.layers(record.architecture)
    assert sum(layer.params for _, layer in layers) == sum(p.numel() for p in net.parameters())
    assert sum(layer.macs for _, layer in layers) / 1e6 == pytest.approx(482, abs=1)  # as its name says


@pytest.mark.parametrize("id", ["ofa-mbv3-w1.2", "ofa-proxyless-w1.3", "ofa-resnet50"])
def test_what_ofa_writes_comes_back(tmp_path, id):
    space = get_space(id)
    net = supernets.build_supernet(space)
    rng = np.random.default_rng(0)
    for _ in range(3):
        architecture = space.sample(rng)
        supernets.activate(net, architecture)
        # json writes a shortcut that get_active_net_config leaves as a module as text: nobody reads it
        (tmp_path / "net.config").write_text(json.dumps(net.get_active_net_config(), default=str))
        record = import_network(tmp_path, image_size=architecture["image_size"])
        assert record.space.id == id
        found, given = (
            [layer.key for _, layer in space.layers(a)] for a in (record.architecture, architecture)
        )
        assert found == given


def test_a_network_of_other_classes_is_of_the_space_with_as_many(tmp_path):
    space = get_space("ofa-mbv3-w1.0")
    net = supernets.build_supernet(get_space("ofa-mbv3-w1.0@7"))
    architecture = space.sample(np.random.default_rng(2))
    supernets.activate(net, architecture)
    (tmp_path / "net.config").write_text(json.dumps(net.get_active_net_config(), default=str))
    for asked in (None, "ofa-mbv3-w1.0", "ofa-mbv3-w1.0@7"):
        record = import_network(tmp_path, image_size=architecture["image_size"], space=asked)
        assert record.space.id == "ofa-mbv3-w1.0@7"
    found, given = ([x.key for _, x in record.space.layers(a)] for a in (record.architecture, architecture))
    assert found == given
    with pytest.raises(MismatchError, match=r"the nearest, ofa-mbv3-w1\.0@3"):
        import_network(tmp_path, image_size=224, space="ofa-mbv3-w1.0@3")


def mcunet_config(space, architecture):
    """As MCUNet's code writes a network: the file has the image size, not the width of squeezing."""
    (_, stem), (_, first), *blocks, (_, tail) = space.layers(architecture)

    def plain(layer, number=0):
        conv = layer.convs[number]
        sides = {"in_channels": conv.in_channels, "out_channels": conv.out_channels}
        return {
            **sides,
            "kernel_size": conv.kernel,
            "stride": conv.stride,
            "use_bn": True,
            "act_func": "relu6",
        }

    def block(layer, **more):
        depthwise = layer.depthwise
        inner = {
            "name": "MBInvertedConvLayer",
            "in_channels": layer.in_channels,
            "out_channels": layer.out_channels,
            "kernel_size": layer.kernel,
            "stride": layer.stride,
            "expand_ratio": 1,
            "mid_channels": depthwise.out_channels if depthwise else None,
            "act_func": "relu6",
            "use_se": layer.squeezes,
            **more,
        }
        shortcut = {"name": "IdentityLayer", "in_channels": [1], "out_channels": [1]}
        return {"mobile_inverted_conv": inner, "shortcut": shortcut if layer.residual else None}

    return {
        "name": "MCUNets",
        "bn": {"momentum": 0.1, "eps": 0.001, "ws_eps": None},
        "first_conv": plain(stem),
        "blocks": [block(first, no_dw=True), *(block(layer) for _, layer in blocks)],
        "feature_mix_layer": plain(tail),
        "classifier": {"in_features": tail.convs[0].out_channels, "out_features": tail.out_channels},
        "resolution": architecture["image_size"],
    }


@pytest.mark.parametrize("id", ["mcunet-vww", "mcunet-vww@10"])
def test_mcunets_form_is_read(tmp_path, id):
    space = get_space(id)
    for architecture in (space.smallest(), space.sample(np.random.default_rng(3)), space.largest()):
        (tmp_path / "net.config").write_text(json.dumps(mcunet_config(space, architecture)))
        record = import_network(tmp_path)
        assert record.space.id == id and record.image_size == architecture["image_size"]
        found, given = ([x.key for _, x in space.layers(a)] for a in (record.architecture, architecture))
        assert found == given


def test_a_published_mcunet_is_read_and_the_nearest_space_named(tmp_path):
    """They have no feature mix, and no space offers that."""
    config = mcunet_config(get_space("mcunet-vww"), get_space("mcunet-vww").smallest())
    last = config["blocks"][-1]["mobile_inverted_conv"]["out_channels"]
    head = {"in_features": last, "out_features": 1000}
    config |= {"name": "ProxylessNASNets", "feature_mix_layer": None, "classifier": head}
    (tmp_path / "net.config").write_text(json.dumps(config))
    with pytest.raises(
        MismatchError, match="is not a network of any known space; the nearest, mcunet-vww@1000"
    ):
        import_network(tmp_path)


def test_faults_are_named(published, tmp_path):
    source = json.loads((published / MOBILE / "net.config").read_text())
    file = tmp_path / "net.config"

    def refused(kind, match, value=None, **options):
        text = value if isinstance(value, str) else json.dumps(source if value is None else value)
        file.write_text(text)
        with pytest.raises(kind, match=match) as caught:
            import_network(file, **{"image_size": 224, **options})
        assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)

    refused(RecordError, "cut short", json.dumps(source)[:-200])
    refused(RecordError, "is not a net.config", {"space": "x"})
    refused(RecordError, "family 'DenseNets'", source | {"name": "DenseNets"})
    refused(RecordError, "'blocks' must be a list", source | {"blocks": 3})
    refused(OptionError, "with `image_size`", None, image_size=None)
    refused(ArchitectureError, "is 100; .*use `image_size` 128", None, image_size=100)
    refused(MismatchError, "the nearest, ofa-proxyless-w1.3", None, space="ofa-proxyless-w1.3")

    def changed(number, **values):
        blocks = json.loads(json.dumps(source["blocks"]))
        blocks[number]["mobile_inverted_conv"].update(values)
        return source | {"blocks": blocks}

    refused(RecordError, r"blocks\[2\].*'kernel_size' must be", changed(2, kernel_size="3"))
    refused(RecordError, r"blocks\[2\].*'act_func' 'gelu'", changed(2, act_func="gelu"))
    refused(RecordError, r"blocks\[3\]: takes 32 channels, the layer before", changed(2, out_channels=40))
    refused(MismatchError, r"ofa-mbv3-w1.2, lacks .*dw9.* at stage1.block2", changed(2, kernel_size=9))
    refused(MismatchError, r"lacks .*o100\+", changed(2, mid_channels=100))


def test_the_command(published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(main, ["import", *map(str, arguments)])

    done = run(published / MOBILE)
    assert done.exit_code == 0 and f"{MOBILE}.json: ofa-mbv3-w1.2, 22 layers, 224 px" in done.output
    assert json.loads((tmp_path / f"{MOBILE}.json").read_text())["space"] == "ofa-mbv3-w1.2"
    monkeypatch.chdir(published / MOBILE)
    assert run(".", "-o", tmp_path / "x.json").exit_code == 0
    monkeypatch.chdir(tmp_path)
    shutil.copytree(published / MOBILE, tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert "mine.json: " in run(".").output and (tmp_path / "mine/mine.json").exists()
    monkeypatch.chdir(tmp_path)
    assert run(published / MOBILE / "net.config").exit_code == 0  # this very file is there already
    (tmp_path / f"{MOBILE}.json").write_text("mine")
    again = run(published / MOBILE / "net.config")
    assert again.exit_code == 2 and "exists already" in again.output
    assert (tmp_path / f"{MOBILE}.json").read_text() == "mine"
    assert run(tmp_path / "absent").exit_code == 2
    assert json.loads(run(published / MOBILE, "--force", "--json").stdout)["image_size"] == 224
