"""The MobileNetV2 family: OFA's ``OFAProxylessNASNets`` and the MCUNet of MIT's TinyML course (lab 3).

A 3x3 stem, a first block without expansion or shortcut, six stages of inverted bottlenecks (the sixth
always one block), a 1x1 feature mix, mean and classifier; ReLU6 throughout. Figures of the first from
``ofa.imagenet_classification.elastic_nn.networks.OFAProxylessNASNets`` (Cai et al., ICLR 2020; base
widths of ProxylessNAS, Cai et al., ICLR 2019), of the second from the course and MCUNet (Lin et al.,
NeurIPS 2020). Tests hold both against the modules themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

from deploy_nas.core.families.stages import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    block_gate,
    block_name,
    block_places,
    mbconv,
    reduced,
)
from deploy_nas.core.layers import Conv, GlobalPool, Layer, Linear, make_divisible
from deploy_nas.core.space import Gene, LayerBuilder, Slot, Space

STEM_STRIDE = 2
STRIDES = (2, 2, 2, 1, 2, 1)
PROXYLESS_WIDTHS = (32, 16, 24, 40, 80, 96, 192, 320, 1280)
MCUNET_WIDTHS = (32, 16, 24, 40, 80, 96, 192, 320, 384)
NO_SQUEEZE = (False,) * len(STRIDES)

# Whether a stage's blocks have squeeze-and-excitation; a tuple says it block by block.
Squeeze = tuple[bool | tuple[bool, ...], ...]


def proxyless(
    *,
    id: str,
    summary: str,
    width: float,
    kernels: tuple[int, ...] = (3, 5, 7),
    expand_ratios: tuple[int, ...] = (3, 4, 6),
    depths: tuple[int, ...] = (2, 3, 4),
    image_sizes: tuple[int, ...],
    profile_image_sizes: tuple[int, ...] | None = None,
    classes: int = 1000,
) -> Space:
    """Declare a ProxylessNAS space: keys ks, e (five stages of ``max(depths)`` blocks, and one), d[6]."""
    return _space(
        id=id,
        summary=summary,
        supernet={
            "class": "OFAProxylessNASNets",
            "width_mult": width,
            "ks_list": list(kernels),
            "expand_ratio_list": list(expand_ratios),
            "depth_list": list(depths),
            "n_classes": classes,
        },
        base_widths=PROXYLESS_WIDTHS,
        widths=(width,),
        kernels=kernels,
        expand_ratios=expand_ratios,
        base_depths=(0,) * 5,
        depths=depths,
        sixth_depth=1,
        squeeze=NO_SQUEEZE,
        fused_first=False,
        image_sizes=image_sizes,
        profile_image_sizes=profile_image_sizes,
        classes=classes,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def mcunet(
    *,
    id: str,
    summary: str,
    base_widths: tuple[int, ...] = MCUNET_WIDTHS,
    widths: tuple[float, ...] = (0.5, 0.75, 1.0),
    kernels: tuple[int, ...] = (3, 5, 7),
    expand_ratios: tuple[int, ...] = (3, 4, 6),
    base_depths: tuple[int, ...] = (1, 2, 2, 2, 2),
    depths: tuple[int, ...] = (0, 1, 2),
    squeeze: Squeeze = NO_SQUEEZE,
    fused_first: bool = False,
    image_sizes: tuple[int, ...],
    profile_image_sizes: tuple[int, ...] | None = None,
    classes: int = 2,
    mean: tuple[float, ...] = (0.5, 0.5, 0.5),
    std: tuple[float, ...] = (0.5, 0.5, 0.5),
) -> Space:
    """Declare an MCUNet space: keys wid (where there is more than one width), ks, e, d[6].

    Args:
        id, summary, image_sizes, profile_image_sizes, classes, mean, std: as of :class:`Space`.
        base_widths: stem, first block, six stages, feature mix.
        widths: multipliers of all but the feature mix (of that too where above 1), ascending.
        kernels, expand_ratios: choices of a block.
        base_depths: blocks that five stages always have.
        depths: choices of blocks on top of those.
        squeeze: squeeze-and-excitation of the six stages, or of each block of one.
        fused_first: the first block has no depthwise convolution.
    """
    return _space(
        id=id,
        summary=summary,
        supernet={
            "class": "OFAMCUNets",
            "base_widths": list(base_widths),
            "widths": list(widths),
            "kernels": list(kernels),
            "expand_ratios": list(expand_ratios),
            "stage_blocks": [base + max(depths) for base in base_depths] + [1],
            "base_depths": [*base_depths, 1],
            "squeeze": [list(s) if isinstance(s, tuple) else s for s in squeeze],
            "fused_first": fused_first,
            "classes": classes,
        },
        base_widths=base_widths,
        widths=widths,
        kernels=kernels,
        expand_ratios=expand_ratios,
        base_depths=base_depths,
        depths=depths,
        sixth_depth=depths[0],
        squeeze=squeeze,
        fused_first=fused_first,
        image_sizes=image_sizes,
        profile_image_sizes=profile_image_sizes,
        classes=classes,
        mean=mean,
        std=std,
    )


def scaled_widths(base_widths: tuple[int, ...], width: float) -> list[int]:
    """Channels of stem, first block, six stages and feature mix at a width multiplier."""
    mix = make_divisible(base_widths[-1] * width) if width > 1.0 else base_widths[-1]
    return [*(make_divisible(w * width) for w in base_widths[:-1]), mix]


def has_squeeze(squeeze: Squeeze, stage: int, position: int) -> bool:
    """Whether a block has squeeze-and-excitation."""
    of_stage = squeeze[stage]
    return of_stage[position] if isinstance(of_stage, tuple) else of_stage


def _space(
    *,
    id: str,
    summary: str,
    supernet: Mapping[str, object],
    base_widths: tuple[int, ...],
    widths: tuple[float, ...],
    kernels: tuple[int, ...],
    expand_ratios: tuple[int, ...],
    base_depths: tuple[int, ...],
    depths: tuple[int, ...],
    sixth_depth: int,
    squeeze: Squeeze,
    fused_first: bool,
    profile_image_sizes: tuple[int, ...] | None,
    image_sizes: tuple[int, ...],
    classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Space:
    channels = [scaled_widths(base_widths, width) for width in widths]
    full = channels[-1]
    counts = [base + max(depths) for base in base_depths] + [1]
    places = block_places(counts)
    elastic = len(widths) > 1
    first_block, first_depth = int(elastic), int(elastic) + 2 * len(places)

    genes = [Gene(key="wid", index=None, choices=tuple(range(len(widths))))] if elastic else []
    for key, choices in (("ks", kernels), ("e", expand_ratios)):
        for number, (stage, position) in enumerate(places):
            gate = None
            if stage < len(base_depths):
                gate = block_gate(first_depth + stage, depths, position, base_depths[stage])
            genes.append(Gene(key=key, index=number, choices=choices, gate=gate))
    genes += [Gene(key="d", index=stage, choices=depths) for stage in range(len(base_depths))]
    # OFA draws a depth for the one block of the sixth stage too, and ignores it.
    same = tuple(d for d in depths if d != sixth_depth)
    genes.append(Gene(key="d", index=len(base_depths), choices=(sixth_depth,), same=same))

    def build_stem(image_size: int, wid: int = 0) -> Layer:
        out = channels[wid][0]
        conv = Conv(
            role="conv", in_channels=3, out_channels=out, kernel=3, stride=STEM_STRIDE, activation="relu6"
        )
        return Layer(kind="stem", in_channels=3, in_size=image_size, ops=(conv,))

    def build_first(image_size: int, wid: int = 0) -> Layer:
        stem, out = channels[wid][:2]
        size = reduced(image_size, (STEM_STRIDE,))
        if fused_first:
            project = Conv(role="project", in_channels=stem, out_channels=out)
            return Layer(kind="mbconv", in_channels=stem, in_size=size, ops=(project,))
        return mbconv(
            in_channels=stem,
            mid_channels=stem,
            out_channels=out,
            in_size=size,
            kernel=3,
            stride=1,
            activation="relu6",
            squeeze=False,
            residual=False,
        )

    def block_builder(stage: int, position: int) -> LayerBuilder:
        first = position == 0
        stride = STRIDES[stage] if first else 1
        before = (STEM_STRIDE, *STRIDES[: stage if first else stage + 1])
        source = 1 + stage if first else 2 + stage

        def build(image_size: int, *values: int) -> Layer | None:
            wid, kernel, expand, depth = values if elastic else (0, *values)
            if stage < len(base_depths) and position >= base_depths[stage] + depth:
                return None
            in_channels = channels[wid][source]
            return mbconv(
                in_channels=in_channels,
                mid_channels=make_divisible(round(in_channels * expand)),
                out_channels=channels[wid][2 + stage],
                in_size=reduced(image_size, before),
                kernel=kernel,
                stride=stride,
                activation="relu6",
                squeeze=has_squeeze(squeeze, stage, position),
                squeeze_channels=full[source] // 4,
                residual=stride == 1 and [c[source] for c in channels] == [c[2 + stage] for c in channels],
            )

        return build

    def build_tail(image_size: int, wid: int = 0) -> Layer:
        last, mix = channels[wid][-2:]
        return Layer(
            kind="tail",
            in_channels=last,
            in_size=reduced(image_size, (STEM_STRIDE, *STRIDES)),
            ops=(
                Conv(role="mix", in_channels=last, out_channels=mix, activation="relu6"),
                GlobalPool(role="pool", channels=mix),
                Linear(role="classifier", in_channels=mix, out_channels=classes),
            ),
        )

    width_gene = (0,) if elastic else ()
    slots = [
        Slot(name="stem", genes=width_gene, build=build_stem),
        Slot(name="first", genes=width_gene, build=build_first),
    ]
    for number, (stage, position) in enumerate(places):
        block, e = first_block + number, first_block + len(places) + number
        slots.append(
            Slot(
                name=block_name(stage, position),
                genes=(*width_gene, block, e, first_depth + stage),
                build=block_builder(stage, position),
            )
        )
    slots.append(Slot(name="tail", genes=width_gene, build=build_tail))
    return Space(
        id=id,
        summary=summary,
        supernet=supernet,
        image_sizes=image_sizes,
        profile_image_sizes=profile_image_sizes or image_sizes,
        classes=classes,
        mean=mean,
        std=std,
        genes=tuple(genes),
        slots=tuple(slots),
    )
