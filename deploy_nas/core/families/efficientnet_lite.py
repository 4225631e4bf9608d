"""The EfficientNet-Lite family: pretrained networks made elastic, under TensorFlow's padding.

A 3x3 stem of 32 channels, a first block without expansion or shortcut, six stages of inverted bottlenecks
with ReLU6, a 1x1 convolution to 1280 channels, mean and classifier. Figures from ``EfficientNet`` (Tan and
Le, ICML 2019) without squeeze-and-excitation, as EfficientNet-Lite (the TensorFlow authors, 2020) has it:
width scales all but the stem and the head, depth all stages but the first block and the last. The largest
architecture is the published network; the smaller ones are parts of it. Tests hold the first against the
module of ``efficientnet-lite-pytorch``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deploy_nas.core.families.stages import block_genes, block_name, block_places, mbconv, reduced
from deploy_nas.core.layers import Conv, GlobalPool, Layer, Linear, make_divisible
from deploy_nas.core.space import LayerBuilder, Slot, Space

STEM_CHANNELS, FIRST_CHANNELS, HEAD_CHANNELS = 32, 16, 1280
STEM_STRIDE = 2
# Pixels are (x - 127) / 128, of 0..255.
_MEAN, _STD = (127 / 255,) * 3, (128 / 255,) * 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Blocks of one width: kernel size, stride of the first, output channels, how many there are."""

    kernel: int
    stride: int
    channels: int
    blocks: int


# Lite0; the other sizes scale it.
_STAGES = (
    Stage(kernel=3, stride=2, channels=24, blocks=2),
    Stage(kernel=5, stride=2, channels=40, blocks=2),
    Stage(kernel=3, stride=2, channels=80, blocks=3),
    Stage(kernel=5, stride=1, channels=112, blocks=3),
    Stage(kernel=5, stride=2, channels=192, blocks=4),
    Stage(kernel=3, stride=1, channels=320, blocks=1),
)


def efficientnet_lite(
    *,
    id: str,
    summary: str,
    width: float = 1.0,
    depth: float = 1.0,
    expand_ratios: tuple[int, ...] = (3, 4, 6),
    image_sizes: tuple[int, ...],
    profile_image_sizes: tuple[int, ...] | None = None,
    classes: int = 1000,
) -> Space:
    """Declare an EfficientNet-Lite space: keys ks and e per block, d[6], the blocks of each stage.

    A block may have any odd kernel from 3 up to the published one, and a stage any number of its blocks.

    Args:
        id, summary, image_sizes, profile_image_sizes, classes: as of :class:`Space`.
        width, depth: multipliers of channels and blocks, EfficientNet's coefficients.
        expand_ratios: choices of a block, ascending; the last must be 6 for the published weights to fit.
    """
    first_channels, stages = scaled_stages(width, depth)
    places = block_places([stage.blocks for stage in stages])
    first_depth = 2 * len(places)
    kernels = [tuple(range(3, stage.kernel + 1, 2)) for stage in stages]
    depths = [tuple(range(1, stage.blocks + 1)) for stage in stages]
    strides = [stage.stride for stage in stages]
    genes = block_genes(kernels, expand_ratios, depths)

    def build_stem(image_size: int) -> Layer:
        conv = Conv(
            role="conv",
            in_channels=3,
            out_channels=STEM_CHANNELS,
            kernel=3,
            stride=STEM_STRIDE,
            activation="relu6",
            padding="tensorflow",
        )
        return Layer(kind="stem", in_channels=3, in_size=image_size, ops=(conv,))

    def build_first(image_size: int) -> Layer:
        return mbconv(
            in_channels=STEM_CHANNELS,
            mid_channels=STEM_CHANNELS,
            out_channels=first_channels,
            in_size=reduced(image_size, (STEM_STRIDE,)),
            kernel=3,
            stride=1,
            activation="relu6",
            squeeze=False,
            residual=False,
            padding="tensorflow",
        )

    def block_builder(stage: int, position: int) -> LayerBuilder:
        first = position == 0
        before = stages[stage - 1].channels if stage else first_channels
        in_channels = before if first else stages[stage].channels
        stride = strides[stage] if first else 1

        def build(image_size: int, kernel: int, expand: int, blocks: int) -> Layer | None:
            if position >= blocks:
                return None
            return mbconv(
                in_channels=in_channels,
                mid_channels=make_divisible(in_channels * expand),
                out_channels=stages[stage].channels,
                in_size=reduced(image_size, (STEM_STRIDE, *strides[: stage if first else stage + 1])),
                kernel=kernel,
                stride=stride,
                activation="relu6",
                squeeze=False,
                residual=stride == 1 and in_channels == stages[stage].channels,
                padding="tensorflow",
            )

        return build

    def build_tail(image_size: int) -> Layer:
        last = stages[-1].channels
        return Layer(
            kind="tail",
            in_channels=last,
            in_size=reduced(image_size, (STEM_STRIDE, *strides)),
            ops=(
                Conv(role="mix", in_channels=last, out_channels=HEAD_CHANNELS, activation="relu6"),
                GlobalPool(role="pool", channels=HEAD_CHANNELS),
                Linear(role="classifier", in_channels=HEAD_CHANNELS, out_channels=classes),
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
            "class": "EfficientNetLite",
            "width": width,
            "depth": depth,
            "expand_ratios": list(expand_ratios),
            "classes": classes,
        },
        image_sizes=image_sizes,
        profile_image_sizes=profile_image_sizes or image_sizes,
        classes=classes,
        mean=_MEAN,
        std=_STD,
        genes=tuple(genes),
        slots=tuple(slots),
    )


def scaled_stages(width: float, depth: float) -> tuple[int, tuple[Stage, ...]]:
    """Channels of the first block, and the six stages, at EfficientNet's coefficients."""
    last = len(_STAGES) - 1
    return make_divisible(FIRST_CHANNELS * width), tuple(
        Stage(
            kernel=stage.kernel,
            stride=stage.stride,
            channels=make_divisible(stage.channels * width),
            blocks=stage.blocks if number == last else math.ceil(stage.blocks * depth),
        )
        for number, stage in enumerate(_STAGES)
    )
