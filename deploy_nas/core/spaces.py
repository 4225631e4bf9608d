"""The spaces deploy-nas knows, by id."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from deploy_nas.core.errors import UnknownSpaceError
from deploy_nas.core.mobilenet import mobilenet_v3
from deploy_nas.core.space import Space

EMBEDDED = "ofa-mbv3-cifar10"
CIFAR10_LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_IMAGENET_SIZES = (128, 144, 160, 176, 192, 208, 224)
_TUTORIAL_SIZES = (160, 176, 192, 208, 224)


def _mbv3_w10() -> Space:
    return mobilenet_v3(
        id="ofa-mbv3-w1.0",
        summary="OFA MobileNetV3, width 1.0, ImageNet",
        width=1.0,
        image_sizes=_IMAGENET_SIZES,
        profile_image_sizes=_TUTORIAL_SIZES,
    )


def _mbv3_w12() -> Space:
    return mobilenet_v3(
        id="ofa-mbv3-w1.2",
        summary="OFA MobileNetV3, width 1.2, ImageNet (the space of OFA's published predictor)",
        width=1.2,
        image_sizes=_IMAGENET_SIZES,
        profile_image_sizes=_TUTORIAL_SIZES,
    )


def _mbv3_cifar10() -> Space:
    return mobilenet_v3(
        id=EMBEDDED,
        summary="a small MobileNetV3 supernet trained on CIFAR-10, shipped with deploy-nas",
        width=0.5,
        kernels=(3, 5),
        image_sizes=(24, 28, 32),
        stem_stride=1,
        stage_strides=(2, 2, 1, 2, 1),
        classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    )


_SPACES: dict[str, Callable[[], Space]] = {
    EMBEDDED: _mbv3_cifar10,
    "ofa-mbv3-w1.0": _mbv3_w10,
    "ofa-mbv3-w1.2": _mbv3_w12,
}


def space_ids() -> list[str]:
    """Ids of all spaces."""
    return list(_SPACES)


@cache
def get_space(id: str) -> Space:
    """The space of that id; raises :class:`UnknownSpaceError` naming those there are."""
    try:
        return _SPACES[id]()
    except KeyError:
        raise UnknownSpaceError(f"no search space {id!r}", hint=f"there are {', '.join(_SPACES)}") from None
