"""Parts that several families share: stages of blocks, and the inverted bottleneck."""

from __future__ import annotations

from collections.abc import Sequence

from deploy_nas.core.layers import (
    Activation,
    Conv,
    Layer,
    Operator,
    Padding,
    SqueezeExcite,
    make_divisible,
)
from deploy_nas.core.operator_base import strided
from deploy_nas.core.space import Gene

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def block_places(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Stage and position in it of every block, in order; ``counts`` are the most blocks of each stage."""
    return [(stage, position) for stage, count in enumerate(counts) for position in range(count)]


def block_name(stage: int, position: int) -> str:
    """A block's slot: ``stage1.block1`` for stage 0, position 0."""
    return f"stage{stage + 1}.block{position + 1}"


def block_gate(
    depth_gene: int, depths: Sequence[int], position: int, base_depth: int = 0
) -> tuple[int, int] | None:
    """Gate of a block's genes, as ``core.space.Gene`` has it; ``None``: the block is always there.

    Args:
        depth_gene: number of its stage's depth gene.
        depths: that gene's choices, ascending.
        position: of the block in its stage.
        base_depth: blocks that the stage has on top of each choice.
    """
    least = next(i for i, depth in enumerate(depths) if base_depth + depth > position)
    return (depth_gene, least) if least else None


def block_genes(
    kernels: Sequence[tuple[int, ...]], expand_ratios: tuple[int, ...], depths: Sequence[tuple[int, ...]]
) -> list[Gene]:
    """Genes ks and e of every block, then d of every stage.

    Args:
        kernels, depths: the choices of each stage, ascending; a stage has at most its last depth's blocks.
        expand_ratios: the choices of every block, ascending.
    """
    places = block_places([max(choices) for choices in depths])
    genes: list[Gene] = []
    for key in ("ks", "e"):
        for number, (stage, position) in enumerate(places):
            gate = block_gate(2 * len(places) + stage, depths[stage], position)
            choices = kernels[stage] if key == "ks" else expand_ratios
            genes.append(Gene(key=key, index=number, choices=choices, gate=gate))
    return genes + [Gene(key="d", index=stage, choices=choices) for stage, choices in enumerate(depths)]


def reduced(image_size: int, strides: Sequence[int]) -> int:
    """Side of the image after operators of these strides, pixels."""
    for stride in strides:
        image_size = strided(image_size, stride)
    return image_size


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
    padding: Padding = "half",
) -> Layer:
    """A mobile inverted bottleneck; no expansion where ``mid_channels == in_channels``.

    ``squeeze_channels`` are the middle ones of squeeze-and-excitation; ``None``: a quarter of
    ``mid_channels``, as OFA has it.
    """
    ops: list[Operator] = []
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
            padding=padding,
        )
    )
    if squeeze:
        middle = make_divisible(mid_channels // 4) if squeeze_channels is None else squeeze_channels
        ops.append(SqueezeExcite(role="se", channels=mid_channels, mid_channels=middle))
    ops.append(Conv(role="project", in_channels=mid_channels, out_channels=out_channels))
    return Layer(kind="mbconv", in_channels=in_channels, in_size=in_size, ops=tuple(ops), residual=residual)
