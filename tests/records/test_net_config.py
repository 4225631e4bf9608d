"""OFA's ``net.config``: layers of each family, and every fault by its key."""

import copy
import itertools
import json

import pytest

from deploy_nas.core.errors import RecordError
from deploy_nas.records.net_config import load_image_size, load_net_config


def conv(in_channels, out_channels, kernel=1, stride=1, act="relu6"):
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "kernel_size": kernel,
        "stride": stride,
        "use_bn": True,
        "act_func": act,
    }


BLOCK = {
    "mobile_inverted_conv": {
        **conv(8, 8, 3),
        "expand_ratio": 4,
        "use_se": False,
    },
    "shortcut": {"name": "IdentityLayer"},
}
PROXYLESS = {
    "name": "ProxylessNASNets",
    "first_conv": conv(3, 8, 3, 2),
    "blocks": [BLOCK],
    "feature_mix_layer": conv(8, 32),
    "classifier": {"in_features": 32, "out_features": 10},
}
MOBILE = {
    **PROXYLESS,
    "name": "MobileNetV3",
    "final_expand_layer": conv(8, 24, act="h_swish"),
    "feature_mix_layer": {**conv(24, 32), "use_bn": False, "act_func": "h_swish"},
}
RESNET = {
    "name": "ResNets",
    "input_stem": [
        conv(3, 8, 3, 2, "relu"),
        {"conv": conv(8, 8, 3, 1, "relu"), "shortcut": {}},
        conv(8, 16, 3),
    ],
    "blocks": [
        {
            "in_channels": 16,
            "out_channels": 32,
            "kernel_size": 3,
            "stride": 2,
            "expand_ratio": 0.25,
            "downsample_mode": "avgpool_conv",
        }
    ],
    "classifier": {"in_features": 32, "out_features": 10},
}


@pytest.fixture
def load(tmp_path):
    def loaded(value):
        path = tmp_path / "net.config"
        path.write_text(json.dumps(value))
        return load_net_config(path)

    return loaded


def changed(value, *path, **new):
    """A copy with other values at a path; ``None`` takes a key away."""
    value = copy.deepcopy(value)
    at = value
    for key in path:
        at = at[key]
    for key, held in new.items():
        if held is None:
            at.pop(key)
        else:
            at[key] = held
    return value


@pytest.mark.parametrize(
    ("value", "kinds"),
    [(PROXYLESS, ["stem", "tail"]), (MOBILE, ["stem", "tail"]), (RESNET, ["stem", "stem", "stem", "tail"])],
    ids=lambda v: v["name"] if isinstance(v, dict) else "",
)
def test_layers_follow_each_other(load, value, kinds):
    layers = load(value).layers(64)
    assert [layer.kind for layer in layers if layer.kind in ("stem", "tail")] == kinds
    for before, after in itertools.pairwise(layers):
        assert (before.out_channels, before.out_size) == (after.in_channels, after.in_size)
    assert (layers[0].in_channels, layers[0].in_size, layers[-1].out_channels) == (3, 64, 10)


def test_todays_spelling_and_middle_channels(load):
    inner = {**BLOCK["mobile_inverted_conv"], "mid_channels": 32}
    block = {"conv": inner, "shortcut": BLOCK["shortcut"]}
    today = {**PROXYLESS, "blocks": [block]}
    keys = [layer.key for layer in load(today).layers(64)]
    assert keys == [layer.key for layer in load(PROXYLESS).layers(64)]


def test_a_block_without_shortcut_is_another_layer(load):
    without = {**PROXYLESS, "blocks": [{**BLOCK, "shortcut": None}]}
    assert load(without).layers(64)[1].key != load(PROXYLESS).layers(64)[1].key


def test_mcunets_form(load):
    """No feature mix, a first block without a depthwise convolution, and the image size in the file."""
    fused = changed(PROXYLESS, "blocks", 0, "mobile_inverted_conv", no_dw=True)
    fused["blocks"][0]["shortcut"] = None
    config = load({
        **fused,
        "feature_mix_layer": None,
        "classifier": {"in_features": 8, "out_features": 2},
        "resolution": 48,
    })  # fmt: skip
    assert (config.image_size, config.classes, config.squeeze_unknown) == (48, 2, False)
    _, block, tail = config.layers(48)
    assert block.depthwise is None and (tail.in_channels, tail.out_channels) == (8, 2)
    assert load(PROXYLESS).image_size is None
    assert load({**PROXYLESS, "name": "MCUNets"}).squeeze_unknown


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({}, "is not a net.config of ofa: 'name' is missing"),
        ({"name": "DenseNet"}, "unknown family 'DenseNet'; families that can be read: MobileNetV3"),
        (changed(PROXYLESS, classifier=None), "classifier"),
        (changed(PROXYLESS, "first_conv", kernel_size="3"), "first_conv.*kernel_size"),
        (changed(PROXYLESS, "first_conv", groups=2), "'groups' must be 1, is 2"),
        (changed(PROXYLESS, "first_conv", dilation=2), "'dilation' must be 1, is 2"),
        (changed(PROXYLESS, "first_conv", act_func="gelu"), "'act_func' 'gelu' is unknown"),
        (changed(PROXYLESS, "first_conv", out_channels=16), "takes 8 channels, the layer before gives 16"),
        (changed(PROXYLESS, "blocks", 0, "mobile_inverted_conv", groups=2), "'groups' of a block"),
        (changed(PROXYLESS, "blocks", 0, "mobile_inverted_conv", expand_ratio=0), "expand_ratio"),
        (changed(MOBILE, final_expand_layer=None), "final_expand_layer"),
        (changed(RESNET, "blocks", 0, kernel_size=5), "is not a bottleneck of OFA's ResNet50-D"),
        (changed(RESNET, "blocks", 0, downsample_mode="conv"), "is not a bottleneck"),
        (changed(RESNET, blocks=3), "blocks"),
    ],
)
def test_faults_name_the_key(load, value, says):
    with pytest.raises(RecordError, match=f"net.config.*{says}"):
        load(value)


def test_a_file_cut_short_is_refused(load, tmp_path):
    path = tmp_path / "net.config"
    text = json.dumps(PROXYLESS)
    for end in range(0, len(text), 7):
        path.write_text(text[:end])
        with pytest.raises(RecordError, match=r"net\.config"):
            load_net_config(path)


def test_the_image_size_of_a_run_config(tmp_path):
    path = tmp_path / "run.config"
    path.write_text('{"image_size": 224, "other": 1}')
    assert load_image_size(path) == 224
    for text in ("{}", '{"image_size": 0}', '{"image_size": "224"}', "{"):
        path.write_text(text)
        with pytest.raises(RecordError, match=r"run\.config"):
            load_image_size(path)
