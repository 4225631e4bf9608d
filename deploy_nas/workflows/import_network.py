"""Convert OFA's ``net.config`` to an architecture of the space that has exactly this network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deploy_nas.core.errors import ArchitectureError, MismatchError, OptionError, UnknownSpaceError
from deploy_nas.core.matching import Match, match_layers
from deploy_nas.core.own_classes import with_classes
from deploy_nas.core.space import Space
from deploy_nas.core.spaces import known_spaces
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.net_config import NetConfig, load_image_size, load_net_config
from deploy_nas.records.supernet import space_named


def import_network(
    path: Path, *, image_size: int | None = None, space: str | None = None
) -> ArchitectureRecord:
    """The architecture of a ``net.config``.

    Args:
        path: the file, or the folder it is in.
        image_size: side of its images; ``None``: as given by the file (``resolution``), or by the
            ``run.config`` beside it.
        space: the only space to look in; ``None``: all of them. Each is looked at with as many classes as the
            network has.

    Raises:
        RecordError: a file that is not a net.config, is cut short, or is of an unknown family.
        MismatchError: a network that no space has; names the nearest space and the layer it lacks.
        OptionError: the image size is not known.
        ArchitectureError: an image size that the space does not offer.
    """
    file = path / "net.config" if path.is_dir() else path
    config = load_net_config(file)
    size = image_size or config.image_size or _image_size_beside(file)
    found, choices = find_space(config, size, [space] if space else None, str(file))
    architecture = found.decode(np.array([[0, *choices]]))[0] | {"image_size": size}
    try:
        found.validate(architecture)
    except ArchitectureError as error:
        nearest = min(found.image_sizes, key=lambda side: abs(side - size))
        raise ArchitectureError(
            f"{error}", subject=str(file), hint=f"its layers fit {found.id}: use `image_size` {nearest}"
        ) from error
    return ArchitectureRecord(space=found, architecture=architecture)


def find_space(
    config: NetConfig, image_size: int, ids: Sequence[str] | None, where: str
) -> tuple[Space, list[int]]:
    """The space that has the network, and its choices; raises :class:`MismatchError`."""
    layers = config.layers(image_size)
    nearest: tuple[Match, Space] | None = None
    for space in [space_named(i) for i in ids] if ids is not None else known_spaces():
        space = _of_classes(space, config.classes)
        match = match_layers(space, image_size, layers, any_squeeze=config.squeeze_unknown)
        if match.choices is not None:
            return space, [int(c) for c in match.choices]
        if nearest is None or match.matched > nearest[0].matched:
            nearest = match, space
    if nearest is None:
        raise MismatchError("cannot be matched: no search space is installed", subject=where)
    match, space = nearest
    odd = f"lacks {layers[match.matched].key}" if match.matched < len(layers) else "has more layers"
    raise MismatchError(
        f"is not a network of any known space; the nearest, {space.id}, {odd} at {match.slot}",
        subject=where,
        hint="deploy-nas spaces lists them",
    )


def _of_classes(space: Space, classes: int) -> Space:
    """The space with that many classes; itself where it has them, or cannot have others."""
    if space.classes == classes or space.base is not None:
        return space
    try:
        return with_classes(space, classes)
    except UnknownSpaceError:
        return space


def _image_size_beside(file: Path) -> int:
    beside = file.with_name("run.config")
    if not beside.is_file():
        raise OptionError(
            "the image size is not known: run.config beside it is missing",
            subject=str(file),
            hint="name it with `image_size`",
        )
    return load_image_size(beside)
