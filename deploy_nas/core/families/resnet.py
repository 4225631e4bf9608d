"""The ResNet family: OFA's ``OFAResNets`` (a ResNet50-D with elastic depth, expand ratio and widths).

Three 3x3 stem convolutions, the middle one optional, then max pooling; four stages of bottlenecks.
Figures from ``ofa.imagenet_classification.elastic_nn.networks.OFAResNets`` (Cai et al., ICLR 2020); tests
hold every layer against the module's own.
"""

from __future__ import annotations

from deploy_nas.core.families.stages import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    block_gate,
    block_name,
    block_places,
    reduced,
)
from deploy_nas.core.layers import Conv, GlobalPool, Layer, Linear, Operator, Pool, make_divisible
from deploy_nas.core.space import Gene, LayerBuilder, Slot, Space

_STAGE_WIDTHS = (256, 512, 1024, 2048)
_BASE_DEPTHS = (2, 2, 4, 2)
_STEM_STRIDES = (2, 2)  # of the first convolution and the max pooling
_STRIDES = (1, 2, 2, 2)
_STEM_DEPTHS = (0, 2)  # what OFA draws: with less than the deepest it skips the middle convolution


def bottleneck(
    *, in_channels: int, mid_channels: int, out_channels: int, in_size: int, stride: int, project: bool
) -> Layer:
    """1x1, 3x3, 1x1 and an addition; ``project`` puts pooling and a 1x1 convolution on the shortcut."""
    shortcut: list[Operator] = []
    if project:
        if stride > 1:
            pool = Pool(role="skip_pool", channels=in_channels, kind="average", kernel=stride, stride=stride)
            shortcut.append(pool)
        shortcut.append(Conv(role="skip", in_channels=in_channels, out_channels=out_channels))
    return Layer(
        kind="bottleneck",
        in_channels=in_channels,
        in_size=in_size,
        ops=(
            Conv(role="reduce", in_channels=in_channels, out_channels=mid_channels, activation="relu"),
            Conv(
                role="spatial",
                in_channels=mid_channels,
                out_channels=mid_channels,
                kernel=3,
                stride=stride,
                activation="relu",
            ),
            Conv(role="expand", in_channels=mid_channels, out_channels=out_channels),
        ),
        residual=True,
        shortcut=tuple(shortcut),
        activation="relu",
    )


def resnet50(
    *,
    id: str,
    summary: str,
    depths: tuple[int, ...] = (0, 1, 2),
    expand_ratios: tuple[float, ...] = (0.2, 0.25, 0.35),
    widths: tuple[float, ...] = (0.65, 0.8, 1.0),
    image_sizes: tuple[int, ...],
    profile_image_sizes: tuple[int, ...] | None = None,
    classes: int = 1000,
) -> Space:
    """Declare a ResNet50 space: keys d[5] (the stem's first), e[18], w[6] (indices into ``widths``)."""
    stem_out = [make_divisible(64 * w) for w in widths]
    stem_mid = [make_divisible(c // 2) for c in stem_out]
    # channels of the stem, then of the stages, at each width
    channels = [stem_out, *([make_divisible(base * w) for w in widths] for base in _STAGE_WIDTHS)]
    counts = [base + max(depths) for base in _BASE_DEPTHS]
    places = block_places(counts)
    first_e, first_w = 1 + len(counts), 1 + len(counts) + len(places)

    skipped = tuple(d for d in depths if d not in _STEM_DEPTHS)
    genes = [Gene(key="d", index=0, choices=_STEM_DEPTHS, same=skipped)]
    genes += [Gene(key="d", index=1 + stage, choices=depths) for stage in range(len(counts))]
    for number, (stage, position) in enumerate(places):
        gate = block_gate(1 + stage, depths, position, _BASE_DEPTHS[stage])
        genes.append(Gene(key="e", index=number, choices=expand_ratios, gate=gate))
    indices = tuple(range(len(widths)))
    genes += [Gene(key="w", index=number, choices=indices) for number in range(2 + len(counts))]

    def stem_conv(in_channels: int, out_channels: int, stride: int = 1) -> Conv:
        return Conv(
            role="conv",
            in_channels=in_channels,
            out_channels=out_channels,
            kernel=3,
            stride=stride,
            activation="relu",
        )

    def build_stem1(image_size: int, mid: int) -> Layer:
        ops = (stem_conv(3, stem_mid[mid], _STEM_STRIDES[0]),)
        return Layer(kind="stem", in_channels=3, in_size=image_size, ops=ops)

    def build_stem2(image_size: int, depth: int, mid: int) -> Layer | None:
        if depth != max(_STEM_DEPTHS):
            return None
        c = stem_mid[mid]
        size = reduced(image_size, _STEM_STRIDES[:1])
        return Layer(kind="stem", in_channels=c, in_size=size, ops=(stem_conv(c, c),), residual=True)

    def build_stem3(image_size: int, mid: int, out: int) -> Layer:
        pool = Pool(role="pool", channels=stem_out[out], kind="max", kernel=3, stride=_STEM_STRIDES[1])
        ops = (stem_conv(stem_mid[mid], stem_out[out]), pool)
        return Layer(
            kind="stem", in_channels=stem_mid[mid], in_size=reduced(image_size, _STEM_STRIDES[:1]), ops=ops
        )

    def block_builder(stage: int, position: int) -> LayerBuilder:
        def build_first(image_size: int, before: int, out: int, expand: float) -> Layer:
            return build(image_size, channels[stage][before], channels[1 + stage][out], expand)

        def build_other(image_size: int, depth: int, out: int, expand: float) -> Layer | None:
            if position >= _BASE_DEPTHS[stage] + depth:
                return None
            return build(image_size, channels[1 + stage][out], channels[1 + stage][out], expand)

        def build(image_size: int, in_channels: int, out_channels: int, expand: float) -> Layer:
            first = position == 0
            return bottleneck(
                in_channels=in_channels,
                mid_channels=make_divisible(round(out_channels * expand)),
                out_channels=out_channels,
                in_size=reduced(image_size, (*_STEM_STRIDES, *_STRIDES[: stage if first else stage + 1])),
                stride=_STRIDES[stage] if first else 1,
                project=first,
            )

        return build_other if position else build_first

    def build_tail(image_size: int, last: int) -> Layer:
        c = channels[-1][last]
        return Layer(
            kind="tail",
            in_channels=c,
            in_size=reduced(image_size, (*_STEM_STRIDES, *_STRIDES)),
            ops=(
                GlobalPool(role="pool", channels=c),
                Linear(role="classifier", in_channels=c, out_channels=classes),
            ),
        )

    slots = [
        Slot(name="stem.conv1", genes=(first_w,), build=build_stem1),
        Slot(name="stem.block", genes=(0, first_w), build=build_stem2),
        Slot(name="stem.conv2", genes=(first_w, first_w + 1), build=build_stem3),
    ]
    for number, (stage, position) in enumerate(places):
        w, e = first_w + 2 + stage, first_e + number
        slots.append(
            Slot(
                name=block_name(stage, position),
                genes=(1 + stage, w, e) if position else (w - 1, w, e),
                build=block_builder(stage, position),
            )
        )
    slots.append(Slot(name="tail", genes=(first_w + 1 + len(counts),), build=build_tail))
    return Space(
        id=id,
        summary=summary,
        supernet={
            "class": "OFAResNets",
            "depth_list": list(depths),
            "expand_ratio_list": list(expand_ratios),
            "width_mult_list": list(widths),
            "n_classes": classes,
        },
        image_sizes=image_sizes,
        profile_image_sizes=profile_image_sizes or image_sizes,
        classes=classes,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        genes=tuple(genes),
        slots=tuple(slots),
    )
