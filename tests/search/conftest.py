"""A space small enough to enumerate, a made-up profile and a made-up accuracy predictor."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deploy_nas.core.encoder import ArchEncoder
from deploy_nas.core.errors import MismatchError
from deploy_nas.core.families.stages import mbconv
from deploy_nas.core.space import FloatArray, Gene, IntArray, Slot, Space
from deploy_nas.core.spaces import get_space


def make_toy(*, width_key: str | None = None) -> Space:
    """Two stages of up to two blocks: 8 block genes, 2 depths, perhaps a width; 2 image sizes."""
    genes = [
        Gene(key=key, index=b, choices=choices, gate=(8 + b // 2, 1) if b % 2 else None)
        for key, choices in (("ks", (3, 5)), ("e", (2, 3)))
        for b in range(4)
    ]
    genes += [Gene(key="d", index=s, choices=(1, 2)) for s in range(2)]
    if width_key:
        genes.append(Gene(key=width_key, index=0, choices=(0, 1, 2)))

    def block(position: int) -> Callable[..., Any]:
        def build(image_size: int, kernel: int, expand: int, depth: int, width: int = 0) -> Any:
            if position >= depth:
                return None
            channels = 8 + 8 * width
            return mbconv(
                in_channels=channels,
                mid_channels=channels * expand,
                out_channels=channels,
                in_size=image_size,
                kernel=kernel,
                stride=1,
                activation="relu",
                squeeze=False,
                residual=True,
            )

        return build

    wide = (10,) if width_key else ()
    slots = [Slot(name=f"b{b}", genes=(b, 4 + b, 8 + b // 2, *wide), build=block(b % 2)) for b in range(4)]
    return Space(
        id="toy",
        summary="for tests",
        supernet={},
        image_sizes=(16, 32),
        profile_image_sizes=(16, 32),
        classes=2,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        genes=tuple(genes),
        slots=tuple(slots),
    )


@dataclass(frozen=True)
class FakeProfile:
    """Latency of a row: its MACs, and a little for each layer."""

    space: Space
    image_sizes: tuple[int, ...]

    def latency_ms(self, encoded: IntArray) -> FloatArray:
        allowed = self.space.image_size_indices(self.image_sizes)
        if not np.isin(encoded[:, 0], allowed).all():
            raise MismatchError("image size was not profiled", subject="fake profile")
        rows = np.array([*(2e-8 * row.macs + 0.004 for row in self.space.rows), 0.0])
        return rows[self.space.row_ids(encoded)].sum(axis=1)


class FakeAccuracy:
    """Bigger choices are better, each gene with its own weight; some pairs of genes work together."""

    def __init__(self, space: Space, image_sizes: Iterable[int] | None = None) -> None:
        rng = np.random.default_rng(7)
        columns = 1 + len(space.genes)
        self.weights = rng.uniform(0.1, 1.0, columns)
        self.pairs = rng.normal(0.0, 0.1, (columns, columns))
        self.arch_encoder = ArchEncoder(space, 3, None if image_sizes is None else tuple(image_sizes))
        self.asked = 0

    def predict_encoded(self, encoded: IntArray) -> FloatArray:
        self.asked += len(encoded)
        space = self.arch_encoder.space
        x = space.canonical(encoded).astype(float)
        x[:, 1:] += space.active(encoded)
        return 50 + x @ self.weights + ((x @ self.pairs) * x).sum(axis=1)

    def predict_acc(self, architectures: list[dict[str, Any]]) -> FloatArray:
        return self.predict_encoded(self.arch_encoder.space.encode(architectures))


@pytest.fixture(scope="session")
def toy() -> Space:
    return make_toy()


@pytest.fixture(scope="session")
def toy_all(toy: Space) -> IntArray:
    """Every distinct architecture of the toy space."""
    rows = np.array(list(itertools.product(*(range(n) for n in toy.choice_counts))), dtype=np.int64)
    return np.unique(toy.canonical(rows), axis=0)


@pytest.fixture(scope="session")
def real() -> Space:
    return get_space("ofa-mbv3-cifar10")


@pytest.fixture(scope="session")
def fakes() -> SimpleNamespace:
    return SimpleNamespace(toy=make_toy, Profile=FakeProfile, Accuracy=FakeAccuracy)
