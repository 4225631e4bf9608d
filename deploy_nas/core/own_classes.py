"""Spaces of your own classes: a known space with another number of outputs, and maybe fewer image sizes.

``efficientnet-lite0@10`` is ``efficientnet-lite0`` with 10 classes, ``efficientnet-lite0@10@96+128`` the same
at two of its image sizes. Such an id says all that a file needs: the layers of the space follow from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from deploy_nas.core.errors import UnknownSpaceError
from deploy_nas.core.layers import Layer, Linear
from deploy_nas.core.space import Choice, Slot, Space

MOST_CLASSES = 100_000

_ID = re.compile(
    r"(?P<base>[^@]+)@(?P<classes>[1-9][0-9]{0,5})(?:@(?P<sizes>[1-9][0-9]{0,4}(?:\+[1-9][0-9]{0,4}){0,99}))?"
)
# Names of the argument that OFA's supernets, and those of this package, take the number of classes by.
_ARGUMENTS = ("classes", "n_classes")


def own_id(base: str, classes: int, image_sizes: Sequence[int] | None = None) -> str:
    """The id of a space of your own classes; ``None``: at all image sizes of the base."""
    sizes = "" if image_sizes is None else "@" + "+".join(map(str, image_sizes))
    return f"{base}@{classes}{sizes}"


def split_id(id: object) -> tuple[str, int, tuple[int, ...] | None] | None:
    """Base id, number of classes and image sizes of such an id; ``None`` for any other text."""
    if not isinstance(id, str) or (found := _ID.fullmatch(id)) is None:
        return None
    sizes = found["sizes"]
    return (
        found["base"],
        int(found["classes"]),
        None if sizes is None else tuple(int(size) for size in sizes.split("+")),
    )


def with_classes(space: Space, classes: int, image_sizes: Sequence[int] | None = None) -> Space:
    """The space with another number of classes, at all or some of its image sizes.

    Labels, weights and accuracy predictor are not taken over: they are of the original classes.

    Args:
        space: one whose last layer ends in a :class:`Linear`, and whose supernet takes ``classes`` or
            ``n_classes``.
        classes: 2 to 100,000.
        image_sizes: some of the space's, in any order; ``None``: all.

    Raises:
        UnknownSpaceError: a number of classes or an image size that it cannot have, or a space that cannot
            have other classes.
    """
    sizes = space.image_sizes if image_sizes is None else tuple(sorted(set(image_sizes)))
    name = own_id(space.id, classes, None if sizes == space.image_sizes else sizes)
    if not 2 <= classes <= MOST_CLASSES:
        raise UnknownSpaceError(f"must have 2 to {MOST_CLASSES} classes, has {classes}", subject=name)
    if not sizes or not set(sizes) <= set(space.image_sizes):
        odd = sorted(set(sizes) - set(space.image_sizes))
        raise UnknownSpaceError(
            f"{space.id} has no image size {odd[0]}" if odd else "must have an image size",
            subject=name,
            hint=f"it has {', '.join(map(str, space.image_sizes))}",
        )
    if space.base is not None:
        raise UnknownSpaceError(
            "is of classes of your own already", subject=space.id, hint=f"name {space.base.id}"
        )
    *first, last = space.slots
    return replace(
        space,
        id=name,
        summary=f"{space.summary.partition(',')[0]}, with {classes} classes of your own",
        supernet=_supernet(space, classes),
        image_sizes=sizes,
        profile_image_sizes=sizes if image_sizes is not None else space.profile_image_sizes,
        classes=classes,
        slots=(*first, replace(last, build=_Tail(last, space, classes))),
        labels=(),
        default_weights=None,
        default_predictor=None,
        published_weights=None,
        published_predictor=False,
        base=space,
    )


def _supernet(space: Space, classes: int) -> Mapping[str, object]:
    names = [name for name in _ARGUMENTS if name in space.supernet]
    if not names:
        raise UnknownSpaceError(
            "cannot have other classes: its supernet takes no argument `classes` or `n_classes`",
            subject=space.id,
        )
    return {**space.supernet, names[0]: classes}


class _Tail:
    """Builds the last layer with another number of classes."""

    def __init__(self, slot: Slot, space: Space, classes: int) -> None:
        self.slot, self.space, self.classes = slot, space, classes

    def __call__(self, image_size: int, *values: Choice) -> Layer | None:
        layer = self.slot.build(image_size, *values)
        last = None if layer is None else layer.ops[-1]
        if layer is None or not isinstance(last, Linear) or last.out_channels != self.space.classes:
            raise UnknownSpaceError(
                f"cannot have other classes: its last layer does not end in a Linear to {self.space.classes}",
                subject=self.space.id,
            )
        return replace(layer, ops=(*layer.ops[:-1], replace(last, out_channels=self.classes)))
