"""``net.config`` files of OFA: one network, layer by layer, as ``ofa`` writes its ``.config``.

The families are ``MobileNetV3``, ``ProxylessNASNets`` and ``ResNets``, in the spelling of OFA's published
networks (``MobileInvertedResidualBlock``) and in that of today's ``ofa`` (``ResidualBlock``). MCUNet's form
of the second is read too, also under the name ``MCUNets``: perhaps no feature mix, a first block without a
depthwise convolution (``no_dw``), and the image size in the file (``resolution``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy_nas.core.errors import RecordError
from deploy_nas.core.families.resnet import bottleneck
from deploy_nas.core.families.stages import mbconv
from deploy_nas.core.fields import Fields
from deploy_nas.core.layers import Activation, Conv, GlobalPool, Layer, Linear, Operator, Pool, make_divisible
from deploy_nas.records.files import read_json

_ACTIVATIONS: dict[str | None, Activation] = {
    None: "",
    "relu": "relu",
    "relu6": "relu6",
    "h_swish": "hard_swish",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class NetConfig:
    """A network of ``ofa``: its class, and its layers at an image size."""

    name: str
    fields: Fields

    def layers(self, image_size: int) -> list[Layer]:
        """Its layers for images of side ``image_size``; raises :class:`RecordError` naming the key."""
        return _FAMILIES[self.name](self.fields, image_size)

    @property
    def image_size(self) -> int | None:
        """``resolution``, where the file states it."""
        return self.fields.optional_integer("resolution", 1)

    @property
    def classes(self) -> int:
        """Outputs of its classifier."""
        return self.fields.fields("classifier").integer("out_features", 1)

    @property
    def squeeze_unknown(self) -> bool:
        """Whether the file does not say how wide squeeze-and-excitation is; MCUNet's supernet has its own."""
        return self.name == "MCUNets"


def load_net_config(path: Path) -> NetConfig:
    """Read a ``net.config``; raises :class:`RecordError` for anything else and for an unknown family."""
    fields = read_json(path)
    if "name" not in fields.value:
        raise RecordError("is not a net.config of ofa: 'name' is missing", subject=str(path))
    name = fields.text("name")
    if name not in _FAMILIES:
        raise RecordError(
            f"is of the unknown family {name!r}",
            subject=str(path),
            hint=f"families that can be read: {', '.join(_FAMILIES)}",
        )
    config = NetConfig(name=name, fields=fields)
    config.layers(config.image_size or 224)  # finds every fault of the file now
    return config


def load_image_size(path: Path) -> int:
    """``image_size`` of a ``run.config``; raises :class:`RecordError`."""
    return read_json(path).integer("image_size", 1)


class _Chain:
    """A sequence of layers; the input channels of each must be the output channels of the one before."""

    def __init__(self, image_size: int) -> None:
        self.layers: list[Layer] = []
        self.channels, self.size = 3, image_size

    def add(self, fields: Fields, layer: Layer) -> None:
        if layer.in_channels != self.channels:
            raise RecordError(
                f"takes {layer.in_channels} channels, the layer before gives {self.channels}",
                subject=fields.where,
            )
        self.layers.append(layer)
        self.channels, self.size = layer.out_channels, layer.out_size


def _activation(fields: Fields) -> Activation:
    name = fields.optional_text("act_func")
    if name not in _ACTIVATIONS:
        raise RecordError(f"'act_func' {name!r} is unknown", subject=fields.where)
    return _ACTIVATIONS[name]


def _conv(fields: Fields, role: str) -> Conv:
    for key in ("groups", "dilation"):
        if fields.value.get(key, 1) != 1:
            raise RecordError(f"{key!r} must be 1, is {fields.value[key]!r}", subject=fields.where)
    return Conv(
        role=role,
        in_channels=fields.integer("in_channels", 1),
        out_channels=fields.integer("out_channels", 1),
        kernel=fields.integer("kernel_size", 1),
        stride=fields.integer("stride", 1),
        norm=fields.boolean("use_bn"),
        activation=_activation(fields),
    )


def _linear(fields: Fields) -> Linear:
    return Linear(
        role="classifier",
        in_channels=fields.integer("in_features", 1),
        out_channels=fields.integer("out_features", 1),
    )


def _plain(chain: _Chain, kind: str, *ops: Operator, residual: bool = False) -> Layer:
    first = ops[0]
    assert isinstance(first, Conv | GlobalPool)  # noqa: S101 - all callers'
    channels = first.in_channels if isinstance(first, Conv) else first.channels
    return Layer(kind=kind, in_channels=channels, in_size=chain.size, ops=ops, residual=residual)


def _mbconv(fields: Fields, chain: _Chain) -> None:
    conv = fields.fields("conv" if "conv" in fields.value else "mobile_inverted_conv")
    in_channels = conv.integer("in_channels", 1)
    if conv.value.get("no_dw", False):
        project = Conv(role="project", in_channels=in_channels, out_channels=conv.integer("out_channels", 1))
        chain.add(fields, _plain(chain, "mbconv", project, residual=fields.value.get("shortcut") is not None))
        return
    if conv.value.get("mid_channels") is None:
        mid = round(in_channels * conv.number("expand_ratio", positive=True, most=1000))
    else:
        mid = conv.integer("mid_channels", 1)
    if conv.value.get("groups") is not None:
        raise RecordError("'groups' of a block cannot be read", subject=conv.where)
    layer = mbconv(
        in_channels=in_channels,
        mid_channels=mid,
        out_channels=conv.integer("out_channels", 1),
        in_size=chain.size,
        kernel=conv.integer("kernel_size", 1),
        stride=conv.integer("stride", 1),
        activation=_activation(conv),
        squeeze=conv.boolean("use_se"),
        residual=fields.value.get("shortcut") is not None,
    )
    chain.add(fields, layer)


def _mobile(fields: Fields, image_size: int) -> list[Layer]:
    chain = _Chain(image_size)
    first = fields.fields("first_conv")
    chain.add(first, _plain(chain, "stem", _conv(first, "conv")))
    for block in fields.objects("blocks"):
        _mbconv(block, chain)
    classifier = _linear(fields.fields("classifier"))
    if not fields.holds("feature_mix_layer") and fields.text("name") != "MobileNetV3":
        pool = GlobalPool(role="pool", channels=chain.channels)
        chain.add(fields, _plain(chain, "tail", pool, classifier))
        return chain.layers
    mix = fields.fields("feature_mix_layer")
    if fields.text("name") == "MobileNetV3":
        expand = fields.fields("final_expand_layer")
        wide = _conv(expand, "expand")
        ops: tuple[Operator, ...] = (
            wide,
            GlobalPool(role="pool", channels=wide.out_channels),
            _conv(mix, "mix"),
        )
    else:
        expand = mix
        wide = _conv(mix, "mix")
        ops = (wide, GlobalPool(role="pool", channels=wide.out_channels))
    chain.add(expand, _plain(chain, "tail", *ops, classifier))
    return chain.layers


def _resnet(fields: Fields, image_size: int) -> list[Layer]:
    chain = _Chain(image_size)
    stem = fields.objects("input_stem")
    for number, part in enumerate(stem):
        inner = part.fields("conv") if "conv" in part.value else part
        conv = _conv(inner, "conv")
        ops: list[Operator] = [conv]
        if number == len(stem) - 1:
            ops.append(Pool(role="pool", channels=conv.out_channels, kind="max", kernel=3, stride=2))
        chain.add(part, _plain(chain, "stem", *ops, residual=inner is not part))
    for block in fields.objects("blocks"):
        in_channels, out_channels = block.integer("in_channels", 1), block.integer("out_channels", 1)
        stride = block.integer("stride", 1)
        if block.integer("kernel_size") != 3 or block.text("downsample_mode") != "avgpool_conv":
            raise RecordError("is not a bottleneck of OFA's ResNet50-D", subject=block.where)
        if block.value.get("mid_channels") is None:
            mid = make_divisible(round(out_channels * block.number("expand_ratio", positive=True, most=1000)))
        else:
            mid = block.integer("mid_channels", 1)
        layer = bottleneck(
            in_channels=in_channels,
            mid_channels=mid,
            out_channels=out_channels,
            in_size=chain.size,
            stride=stride,
            project=stride > 1 or in_channels != out_channels,
        )
        chain.add(block, layer)
    pool = GlobalPool(role="pool", channels=chain.channels)
    chain.add(fields, _plain(chain, "tail", pool, _linear(fields.fields("classifier"))))
    return chain.layers


_FAMILIES: dict[str, Callable[[Fields, int], list[Layer]]] = {
    "MobileNetV3": _mobile,
    "ProxylessNASNets": _mobile,
    "MCUNets": _mobile,
    "ResNets": _resnet,
}
