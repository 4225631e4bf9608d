"""A search space of one's own: up to three residual blocks, each with a 3x3 or a 5x5 convolution."""

from __future__ import annotations

from deploy_nas.core.layers import Conv, GlobalPool, Layer, Linear
from deploy_nas.core.space import Gene, Slot, Space

WIDTH, CLASSES, DEPTHS, KERNELS = 16, 4, (1, 2, 3), (3, 5)


def space() -> Space:
    """What there is to choose (genes), and which layer stands where (slots)."""
    depth = len(DEPTHS)  # number of the gene of the depth: it comes after the kernels
    genes = [Gene(key="ks", index=b, choices=KERNELS, gate=(depth, b) if b else None) for b in range(depth)]
    genes.append(Gene(key="d", index=0, choices=DEPTHS))

    def conv(in_channels: int, kernel: int, stride: int = 1) -> Conv:
        return Conv(role="conv", in_channels=in_channels, out_channels=WIDTH, kernel=kernel, stride=stride, activation="relu")  # fmt: skip  # noqa: E501

    def layer(kind: str, in_channels: int, in_size: int, *ops, residual: bool = False) -> Layer:
        return Layer(kind=kind, in_channels=in_channels, in_size=in_size, ops=ops, residual=residual)

    def block(position: int):
        def build(size: int, kernel: int, depth: int) -> Layer | None:
            inside = layer("block", WIDTH, (size + 1) // 2, conv(WIDTH, kernel), residual=True)
            return inside if position < depth else None

        return build

    head = (GlobalPool(role="pool", channels=WIDTH), Linear(role="out", in_channels=WIDTH, out_channels=CLASSES))  # fmt: skip  # noqa: E501
    return Space(
        id="toy-elastic", summary="a toy elastic network", supernet={"class": "toy_space:supernet"},
        image_sizes=(16, 24), profile_image_sizes=(16, 24), classes=CLASSES,
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), genes=tuple(genes),
        slots=(
            Slot(name="stem", genes=(), build=lambda size: layer("stem", 3, size, conv(3, 3, 2))),
            *(Slot(name=f"block{b + 1}", genes=(b, depth), build=block(b)) for b in range(depth)),
            Slot(name="tail", genes=(), build=lambda size: layer("tail", WIDTH, (size + 1) // 2, *head)),
        ),
    )  # fmt: skip


def supernet():
    """The weights of all subnets; torch is imported only when weights are wanted."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, in_channels: int, kernel: int, stride: int = 1) -> None:
            super().__init__()
            self.conv = nn.Conv2d(in_channels, WIDTH, kernel, stride, kernel // 2, bias=False)
            self.bn, self.residual = nn.BatchNorm2d(WIDTH), stride == 1

        def forward(self, x):
            y = self.bn(self.conv(x)).relu()
            return y + x if self.residual else y

        def cut(self, kernel: int) -> Block:
            taken, edge = Block(WIDTH, kernel), (self.conv.kernel_size[0] - kernel) // 2
            inner = self.conv.weight[:, :, edge : edge + kernel, edge : edge + kernel]
            taken.load_state_dict({**self.state_dict(), "conv.weight": inner})
            return taken

    class Net(nn.Module):
        def __init__(self, stem: nn.Module, blocks: list, out: nn.Module) -> None:
            super().__init__()
            self.stem, self.blocks, self.out = stem, nn.ModuleList(blocks), out
            self.ks, self.d = [max(KERNELS)] * len(blocks), [len(blocks)]

        def forward(self, x):
            return self.out(nn.Sequential(self.stem, *self.blocks)(x).mean((2, 3)))

        def set_active_subnet(self, ks: list, d: list) -> None:
            self.ks, self.d = ks, d

        def get_active_subnet(self, preserve_weight: bool = True) -> nn.Module:
            active = zip(self.blocks[: self.d[0]], self.ks, strict=False)
            with torch.no_grad():
                return Net(self.stem, [block.cut(kernel) for block, kernel in active], self.out)

    return Net(Block(3, 3, 2), [Block(WIDTH, 5) for _ in DEPTHS], nn.Linear(WIDTH, CLASSES))
