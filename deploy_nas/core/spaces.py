"""The spaces deploy-nas knows, by id: its own, and those that other packages bring.

A package brings a space by an entry point of the group ``deploy_nas.spaces``: its name is the space's
id, its object a function that returns the :class:`Space` (docs/spaces/your-own.md). The ids of
deploy-nas cannot be taken.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from functools import cache

from deploy_nas.core.errors import UnknownSpaceError
from deploy_nas.core.families.mobilenet import mobilenet_v3
from deploy_nas.core.families.mobilenet_v2 import mcunet, proxyless
from deploy_nas.core.families.resnet import resnet50
from deploy_nas.core.space import Space

EMBEDDED = "ofa-mbv3-cifar10"
CIFAR10_LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_IMAGENET_SIZES = (128, 144, 160, 176, 192, 208, 224)
_TUTORIAL_SIZES = (160, 176, 192, 208, 224)
_RESNET_SIZES = (128, 144, 160, 176, 192, 224, 240, 256)  # those of its published accuracy predictor


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
        image_sizes=(20, 24, 28, 32),
        stem_stride=1,
        stage_strides=(2, 2, 1, 2, 1),
        classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    )


def _proxyless_w13() -> Space:
    return proxyless(
        id="ofa-proxyless-w1.3",
        summary="OFA ProxylessNAS, width 1.3, ImageNet",
        width=1.3,
        image_sizes=_IMAGENET_SIZES,
        profile_image_sizes=_TUTORIAL_SIZES,
    )


def _resnet50() -> Space:
    return resnet50(
        id="ofa-resnet50",
        summary="OFA ResNet50-D with elastic widths, ImageNet (has a published predictor)",
        image_sizes=_RESNET_SIZES,
        profile_image_sizes=(128, 160, 192, 224),
    )


def _mcunet_vww() -> Space:
    return mcunet(
        id="mcunet-vww",
        summary="MCUNet of MIT's TinyML lab 3, Visual Wake Words: person or no person",
        squeeze=(False, (False, True, True, True), True, True, True, False),
        fused_first=True,
        image_sizes=(96, 112, 128, 144, 160),
    )


_SPACES: dict[str, Callable[[], Space]] = {
    EMBEDDED: _mbv3_cifar10,
    "ofa-mbv3-w1.0": _mbv3_w10,
    "ofa-mbv3-w1.2": _mbv3_w12,
    "ofa-proxyless-w1.3": _proxyless_w13,
    "ofa-resnet50": _resnet50,
    "mcunet-vww": _mcunet_vww,
}


GROUP = "deploy_nas.spaces"


def space_ids() -> list[str]:
    """Ids of all spaces, those of other packages last."""
    return [*_SPACES, *_others()]


@cache
def get_space(id: str) -> Space:
    """The space of that id.

    Raises:
        UnknownSpaceError: there is none (names those there are), or its package cannot be used.
    """
    if id in _SPACES:
        return _SPACES[id]()
    others = _others()
    if id not in others:
        raise UnknownSpaceError(f"no search space {id!r}", hint=f"there are {', '.join(space_ids())}")
    return _load(others[id])


def _others() -> dict[str, importlib.metadata.EntryPoint]:
    points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name)
    return {point.name: point for point in points if point.name not in _SPACES}


def _load(point: importlib.metadata.EntryPoint) -> Space:
    """Another package's space; whatever that package raises becomes one message."""
    what = f"space {point.name} (entry point {point.value})"
    try:
        space = point.load()()
        if not isinstance(space, Space):
            raise TypeError(f"it returned {type(space).__name__}, not a Space")
        if space.id != point.name:
            raise ValueError(f"it returned a space with the id {space.id!r}")
        space.row_ids(space.encode([space.smallest(), space.largest()]))
    except Exception as error:
        raise UnknownSpaceError(
            f"cannot be used: {type(error).__name__}: {error}",
            subject=what,
            hint="mend or uninstall that package",
        ) from error
    return space
