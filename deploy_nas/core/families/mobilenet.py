"""The MobileNetV3 family: OFA's ``OFAMobileNetV3`` as genes and slots.

Figures from ``ofa.imagenet_classification.elastic_nn.networks.OFAMobileNetV3`` (Cai et al., ICLR
2020); a test holds every layer of random subnets against the ``ofa`` module's own.
"""

from __future__ import annotations

from deploy_nas.core.families.stages import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    block_genes,
    block_name,
    block_places,
    mbconv,
    reduced,
)
from deploy_nas.core.layers import Activation, Conv, GlobalPool, Layer, Linear, make_divisible
from deploy_nas.core.space import LayerBuilder, Slot, Space

_STAGE_WIDTHS = (24, 40, 80, 112, 160)
_STAGE_ACTIVATIONS: tuple[Activation, ...] = ("relu", "relu", "hard_swish", "hard_swish", "hard_swish")
_STAGE_SQUEEZE = (False, True, False, True, True)


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
    stages = len(widths)
    places = block_places([max(depths)] * stages)
    first_depth = 2 * len(places)
    genes = block_genes([kernels] * stages, expand_ratios, [depths] * stages)

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
            in_size=reduced(image_size, (stem_stride,)),
            kernel=3,
            stride=1,
            activation="relu",
            squeeze=False,
            residual=True,
        )

    def block_builder(stage: int, position: int) -> LayerBuilder:
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
                in_size=reduced(image_size, (stem_stride, *stage_strides[: stage if first else stage + 1])),
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
            in_size=reduced(image_size, (stem_stride, *stage_strides)),
            ops=(
                Conv(role="expand", in_channels=widths[-1], out_channels=wide, activation="hard_swish"),
                GlobalPool(role="pool", channels=wide),
                Conv(role="mix", in_channels=wide, out_channels=last, norm=False, activation="hard_swish"),
                Linear(role="classifier", in_channels=last, out_channels=classes),
            ),
        )

    slots = [Slot(name="stem", genes=(), build=build_stem), Slot(name="first", genes=(), build=build_first)]
    for number, (stage, position) in enumerate(places):
        slots.append(
            Slot(
                name=block_name(stage, position),
                genes=(number, len(places) + number, first_depth + stage),
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
