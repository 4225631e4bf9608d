import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deploy_nas.core.space import Gene, Layer, Slot, Space
from deploy_nas.core.spaces import get_space
from deploy_nas.records.accuracy import AccuracyData, AccuracyHeader

SHARED = Path(os.environ.get("DEPLOY_NAS_DATA", Path(__file__).resolve().parents[2] / "../shared/data"))


@pytest.fixture
def space() -> Space:
    return get_space("ofa-mbv3-cifar10")


@pytest.fixture
def tiny_space() -> Space:
    """Three subnets, that differ in one expand ratio."""
    from deploy_nas.core.layers import Linear

    def build(image_size: int, out: int) -> Layer:
        return Layer(
            kind="tail", in_channels=3, in_size=1, ops=(Linear(role="c", in_channels=3, out_channels=out),)
        )

    return Space(
        id="tiny",
        summary="",
        supernet={},
        image_sizes=(8,),
        profile_image_sizes=(8,),
        classes=2,
        mean=(0.0,),
        std=(1.0,),
        genes=(Gene(key="e", index=0, choices=(1, 2, 3)),),
        slots=(Slot(name="tail", genes=(0,), build=build),),
    )


@pytest.fixture
def shared() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"needs {path}")
        return path

    return find


@pytest.fixture
def synthetic() -> Callable[..., AccuracyData]:
    """Measured subnets of a made-up supernet: more is better, ever less so; noise on top."""

    def make(space: Space, count: int, seed: int = 0, noise: float = 0.3) -> AccuracyData:
        rng = np.random.default_rng(seed)
        encoded = space.canonical(space.sample_encoded(rng, count))
        worth = np.random.default_rng(7).uniform(0.2, 1.0, len(space.genes))
        size = (space.active(encoded) * worth * (1 + encoded[:, 1:])).sum(axis=1) / worth.sum()
        top1 = 92.0 - 20.0 * np.exp(-0.8 * size - 0.4 * encoded[:, 0]) + rng.normal(0.0, noise, count)
        header = AccuracyHeader(space=space, weights="w", images="i", image_count=5000)
        return AccuracyData(header=header, encoded=encoded, top1_percent=np.clip(top1, 0.0, 100.0))

    return make
