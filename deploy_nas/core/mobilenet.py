"""The MobileNetV3 family: OFA's ``OFAMobileNetV3`` as genes and slots.

Figures from ``ofa.imagenet_classification.elastic_nn.networks.OFAMobileNetV3`` (Cai et al., ICLR
2020); a test holds every layer of random subnets against the ``ofa`` module's own.
"""

from __future__ import annotations

from collections.abc import Callable

from deploy_nas.core.layers import Activation, Conv, GlobalPool, Layer, Linear, SqueezeExcite, make_divisible
from deploy_nas.core.space import Gene, Slot, Space

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_STAGE_WIDTHS = (24, 40, 80, 112, 160)
_STAGE_ACTIVATIONS: tuple[Activation, ...] = ("relu", "relu", "hard_swish", "hard_swish", "hard_swish")
_STAGE_SQUEEZE = (False, True, False, True, True)


def mbconv(
    *,
    in_channels: int,
    mid_channels: int,
    out_channels: int,
    in_size: int,
    kernel: int,
    stride: int,
    activation: Activation,
    squeeze: bool,
    residual: bool,
    squeeze_channels: int | None = None,
) -> Layer:
    """A mobile inverted bottleneck; no expansion where ``mid_channels == in_channels``.

    ``squeeze_channels`` are the middle ones of squeeze-and-excitation; ``None``: a quarter of
    ``mid_channels``, as OFA has it.
    """
    ops: list[Conv | SqueezeExcite] = []
    if mid_channels != in_channels:
        ops.append(
            Conv(role="expand", in_channels=in_channels, out_channels=mid_channels, activation=activation)
        )
    ops.append(
        Conv(
            role="depthwise",
            in_channels=mid_channels,
            out_channels=mid_channels,
            kernel=kernel,
            stride=stride,
            depthwise=True,
            activation=activation,
        )
    )
    if squeeze:
        reduced = make_divisible(mid_channels // 4) if squeeze_channels is None else squeeze_channels
        ops.append(SqueezeExcite(role="se", channels=mid_channels, mid_channels=reduced))
    ops.append(Conv(role="project", in_channels=mid_channels, out_channels=out_channels))
    return Layer(kind="mbconv", in_channels=in_channels, in_size=in_size, ops=tuple(ops), residual=residual)


def mobilenet_v3(
    *,
    id: str,
    summary: str,
    width: float,
    kernels: tuple[int, ...] = (3, 5, 7),
    expand_ratios: tuple[int, ...] = (3, 4, 6),
    depths: tuple[int, ...] = (2, 3, 4),
    image_sizes: tuple[int, ...],
    profile_image_sizes: tuple[int, ...] | None = None,
    stem_stride: int = 2,
    stage_strides: tuple[int, ...] = (2, 2, 2, 1, 2),
    classes: int = 1000,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> Space:
    """Declare a MobileNetV3 space; ``stage_strides`` and ``stem_stride`` may differ from OFA's."""
    stem = make_divisible(16 * width)
    widths = [make_divisible(w * width) for w in _STAGE_WIDTHS]
    per_stage = max(depths)
    stages = len(widths)
    genes: list[Gene] = []
    blocks = stages * per_stage
    for key, choices in (("ks", kernels), ("e", expand_ratios)):
        for b in range(blocks):
            stage, position = divmod(b, per_stage)
            least = next(i for i, d in enumerate(depths) if d > position)
            gate = (2 * blocks + stage, least) if least else None
            genes.append(Gene(key=key, index=b, choices=choices, gate=gate))
    genes += [Gene(key="d", index=s, choices=depths) for s in range(stages)]

    def reduced(image_size: int, strides: tuple[int, ...]) -> int:
        for stride in (stem_stride, *strides):
            image_size = (image_size - 1) // stride + 1
        return image_size

    def build_stem(image_size: int) -> Layer:
        conv = Conv(
            role="conv",
            in_channels=3,
            out_channels=stem,
            kernel=3,
            stride=stem_stride,
            activation="hard_swish",
        )
        return Layer(kind="stem", in_channels=3, in_size=image_size, ops=(conv,))

    def build_first(image_size: int) -> Layer:
        return mbconv(
            in_channels=stem,
            mid_channels=stem,
            out_channels=stem,
            in_size=reduced(image_size, ()),
            kernel=3,
            stride=1,
            activation="relu",
            squeeze=False,
            residual=True,
        )

    def block_builder(stage: int, position: int) -> Callable[[int, int, int, int], Layer | None]:
        def build(image_size: int, kernel: int, expand: int, depth: int) -> Layer | None:
            if position >= depth:
                return None
            first = position == 0
            in_channels = (widths[stage - 1] if stage else stem) if first else widths[stage]
            stride = stage_strides[stage] if first else 1
            return mbconv(
                in_channels=in_channels,
                mid_channels=make_divisible(round(in_channels * expand)),
                out_channels=widths[stage],
                in_size=reduced(image_size, stage_strides[: stage if first else stage + 1]),
                kernel=kernel,
                stride=stride,
                activation=_STAGE_ACTIVATIONS[stage],
                squeeze=_STAGE_SQUEEZE[stage],
                residual=stride == 1 and in_channels == widths[stage],
            )

        return build

    def build_tail(image_size: int) -> Layer:
        wide, last = make_divisible(960 * width), make_divisible(1280 * width)
        return Layer(
            kind="tail",
            in_channels=widths[-1],
            in_size=reduced(image_size, stage_strides),
            ops=(
                Conv(role="expand", in_channels=widths[-1], out_channels=wide, activation="hard_swish"),
                GlobalPool(role="pool", channels=wide),
                Conv(role="mix", in_channels=wide, out_channels=last, norm=False, activation="hard_swish"),
                Linear(role="classifier", in_channels=last, out_channels=classes),
            ),
        )

    slots = [Slot(name="stem", genes=(), build=build_stem), Slot(name="first", genes=(), build=build_first)]
    for b in range(blocks):
        stage, position = divmod(b, per_stage)
        slots.append(
            Slot(
                name=f"stage{stage + 1}.block{position + 1}",
                genes=(b, blocks + b, 2 * blocks + stage),
                build=block_builder(stage, position),
            )
        )
    slots.append(Slot(name="tail", genes=(), build=build_tail))
    return Space(
        id=id,
        summary=summary,
        supernet={
            "class": "OFAMobileNetV3",
            "width_mult": width,
            "ks_list": list(kernels),
            "expand_ratio_list": list(expand_ratios),
            "depth_list": list(depths),
            "n_classes": classes,
            "stem_stride": stem_stride,
            "stage_strides": list(stage_strides),
        },
        image_sizes=image_sizes,
        profile_image_sizes=profile_image_sizes or image_sizes,
        classes=classes,
        mean=mean,
        std=std,
        genes=tuple(genes),
        slots=tuple(slots),
    )
