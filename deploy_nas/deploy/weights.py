"""Load weights into a supernet: embedded, published, from a checkpoint, or random and marked as such."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_nas.adapters import downloads, supernets
from deploy_nas.core.errors import MismatchError, WeightsError
from deploy_nas.core.extras import require_supernets
from deploy_nas.core.fields import Fields, parse_json
from deploy_nas.core.notices import notice
from deploy_nas.core.own_classes import with_classes
from deploy_nas.core.resources import OwnFile, Resource
from deploy_nas.core.space import Architecture, Space
from deploy_nas.core.spaces import known_spaces
from deploy_nas.records.architecture import ArchitectureRecord, parse_architecture
from deploy_nas.records.model import Provenance
from deploy_nas.records.supernet import is_supernet, of_same_id, supernet_space

if TYPE_CHECKING:
    import torch

EMBEDDED_WEIGHTS, PRETRAINED_WEIGHTS, RANDOM_WEIGHTS = "embedded", "pretrained", "random"
_TUNED_FOR = "tuned_for"


def default_weights(space: Space, weights: str | Path | None) -> str | Path:
    """``weights``, or the space's default; raises :class:`WeightsError` if it has none."""
    if weights is None or weights == EMBEDDED_WEIGHTS:
        if space.default_weights is not None:
            return EMBEDDED_WEIGHTS
        have = ", ".join(s.id for s in known_spaces() if s.default_weights is not None)
        missing = (
            "this space comes without weights"
            if weights is None
            else f"only these have embedded weights: {have}"
        )
        raise WeightsError(missing, subject=space.id, hint=_choices())
    named = weights in (PRETRAINED_WEIGHTS, RANDOM_WEIGHTS) or is_supernet(weights)
    if not named and not file_and_part(weights)[0].is_file():
        raise WeightsError("this file of weights does not exist", subject=str(weights), hint=_choices())
    return weights


def file_and_part(weights: str | Path) -> tuple[Path, str]:
    """The file of ``PATH`` or ``PATH:NAME`` and the name of the weights in it; empty: those that fit."""
    path, _, name = str(weights).rpartition(":")
    if path and name and not Path(weights).exists() and Path(path).is_file():
        return Path(path), name
    return Path(weights), ""


def load_supernet(
    space: Space,
    weights: str | Path | None = None,
    *,
    architecture: Architecture | None = None,
    seed: int = 0,
    progress: downloads.Progress | None = None,
) -> tuple[torch.nn.Module, Provenance]:
    """The space's supernet with weights loaded, and their origin.

    Args:
        space: one whose supernet can be built.
        weights: "embedded" (the space's own, the default if it has some), "pretrained" (published by
            its authors, downloaded at first use), "random", a checkpoint file, one of several weights in it
            (``PATH:NAME``), or the folder of a trained supernet.
        architecture: the one subnet that is needed; ``None``: any.
        seed: of random weights.
        progress: of a download.

    Raises:
        WeightsError: no default weights, or a checkpoint that does not fit.
        MismatchError: weights that were fine-tuned for another subnet, or a supernet of another space.
        DownloadError: pretrained weights that cannot be downloaded.
    """
    require_supernets()
    chosen = default_weights(space, weights)
    if chosen == RANDOM_WEIGHTS:
        net = supernets.build_supernet(space, seed=seed)
        return net, Provenance(source=RANDOM_WEIGHTS, sha256=None, trained=False, seed=seed)
    path = weights_path(space, chosen, progress=progress)
    _check_tuned(path, space, architecture)
    net = supernets.build_supernet(space)
    return net, _loaded(net, space, chosen, path)


def load_subnet(
    space: Space,
    weights: str | Path | None,
    architecture: Architecture,
    *,
    seed: int = 0,
    progress: downloads.Progress | None = None,
) -> tuple[torch.nn.Module, Provenance]:
    """One subnet in evaluation mode, and the origin of its weights.

    ``weights`` as for :func:`load_supernet`, or a checkpoint of this very subnet, as it is after training
    what ``get_active_subnet`` gave.

    Raises:
        WeightsError, MismatchError, DownloadError: see :func:`load_supernet`.
    """
    try:
        net, provenance = load_supernet(
            space, weights, architecture=architecture, seed=seed, progress=progress
        )
    except WeightsError as error:
        if weights is None or is_supernet(weights) or not (path := file_and_part(weights)[0]).is_file():
            raise
        taken = supernets.subnet(supernets.build_supernet(space), architecture)
        try:
            provenance = _loaded(taken, space, weights, path, what="weights of this subnet alone")
        except WeightsError as own:
            if own.message == error.message:  # of the file, whatever it is taken for
                raise error from None
            raise WeightsError(
                f"{error.message}; nor is it a checkpoint of this subnet alone: {own.message}",
                subject=str(weights),
                hint=_other_classes(taken, space, weights),
            ) from error
        return taken, provenance
    return supernets.subnet(net, architecture), provenance


def _loaded(
    net: torch.nn.Module, space: Space, weights: str | Path, path: Path, what: str = ""
) -> Provenance:
    """Load a file into the net; says what of the file was taken where that is not plain."""
    loaded = supernets.load_weights(net, space, path, part=file_and_part(weights)[1])
    taken = "; ".join(part for part in (what, loaded.wrapping) if part)
    if taken:
        other = f"; to use weights that were left out, name them: {path}:NAME"
        notice(f"took {taken}{other if ' left out' in taken else ''}", subject=str(path))
    return Provenance(
        source=_source(weights, path),
        sha256=loaded.sha256,
        trained=True,
        taken=taken,
        licence=_licence(space, weights),
    )


def _licence(space: Space, weights: str | Path) -> str:
    """The licence of "embedded" or "pretrained" weights; empty for files of your own, which state none."""
    if weights == PRETRAINED_WEIGHTS and space.published_weights is not None:
        return space.published_weights.licence
    named = weights in (EMBEDDED_WEIGHTS, PRETRAINED_WEIGHTS)
    own = space.default_weights
    return own.licence if named and isinstance(own, Resource) else ""


def _other_classes(net: torch.nn.Module, space: Space, weights: str | Path) -> str:
    """The hint for a checkpoint of other classes; empty where that is not the fault."""
    path, part = file_and_part(weights)
    try:
        stored = supernets.stored_classes(net, path, part=part)
    except WeightsError:
        return ""
    base = (space.base or space).id
    return (
        ""
        if stored == space.classes
        else f"it has {stored} classes: name the space {base}@{stored} (`space`)"
    )


def transferred_supernet(
    space: Space,
    weights: str | Path | None,
    *,
    seed: int,
    progress: downloads.Progress | None = None,
) -> tuple[torch.nn.Module, Provenance]:
    """The supernet of a space of your own classes, to be trained, and the origin of its weights.

    Weights of another number of classes give all but the classifier, which is random.

    Args:
        space: of your own classes (``core.own_classes``).
        weights: of it, of its base, or of the base with yet other classes, as :func:`load_supernet` takes
            them; ``None``: the base's pretrained ones, or those embedded.
        seed: of what is random.
        progress: of a download.

    Raises:
        WeightsError, DownloadError: see :func:`load_supernet`.
    """
    base = space.base or space
    net = supernets.build_supernet(space, seed=seed)
    weights = _to_start_from(base, weights)
    if weights == RANDOM_WEIGHTS:
        return net, Provenance(source=RANDOM_WEIGHTS, sha256=None, trained=False, seed=seed)
    if is_supernet(weights):
        donor = supernet_space(Path(weights))
        if (donor.base or donor).id != base.id:
            raise WeightsError(f"are of {donor.id}, not of {base.id}", subject=str(weights))
        path = weights_path(donor, weights)
    else:
        path = weights_path(base, default_weights(base, weights), progress=progress)
        stored = supernets.stored_classes(net, path, part=file_and_part(weights)[1])
        donor = base if stored == base.classes else with_classes(base, stored)
    given = net if donor.classes == space.classes else supernets.build_supernet(donor)
    provenance = _loaded(given, donor, weights, path)
    if given is not net:
        supernets.copy_body(given, net)
    return net, provenance


def _source(weights: str | Path, path: Path) -> str:
    if weights in (PRETRAINED_WEIGHTS, EMBEDDED_WEIGHTS):
        return str(weights)
    file, part = file_and_part(weights)
    if path != file:  # of a supernet's folder
        return f"{path.parent.name}/{path.name}"
    return f"{path.name}:{part}" if part else path.name


def save_tuned(
    net: torch.nn.Module, space: Space, architecture: Architecture, path: Path, *, force: bool = False
) -> None:
    """Write weights that were tuned for one subnet; :func:`load_supernet` refuses them for any other."""
    notes = {_TUNED_FOR: json.dumps({"space": space.id, **architecture})}
    supernets.save_weights(net, path, force=force, notes=notes)


def _check_tuned(path: Path, space: Space, architecture: Architecture | None) -> None:
    noted = supernets.weights_notes(path).get(_TUNED_FOR)
    if noted is None:
        return
    tuned = parse_architecture(Fields(parse_json(noted.encode()), f"{path}: {_TUNED_FOR}"))
    wanted = None if architecture is None else ArchitectureRecord(space=space, architecture=architecture)
    if wanted is None or not wanted.same_network(tuned):
        raise MismatchError(
            "were fine-tuned for one subnet, which is not this one",
            subject=str(path),
            hint="use the supernet's own weights",
        )


def weights_path(space: Space, weights: str | Path, *, progress: downloads.Progress | None = None) -> Path:
    """The file of "embedded" or "pretrained" weights, of a supernet's folder, or the named checkpoint.

    Raises:
        WeightsError: the space has no such weights; the package that has them is missing, or its file is, or
            is another one.
        MismatchError: the folder of a supernet of another space.
        DownloadError: pretrained weights that cannot be downloaded.
    """
    if weights == PRETRAINED_WEIGHTS and not _come_with_a_package(space):
        return published_path(space, progress=progress)
    if weights in (EMBEDDED_WEIGHTS, PRETRAINED_WEIGHTS):
        if space.default_weights is None:
            raise WeightsError("this space comes without weights", subject=space.id, hint=_choices())
        return _checked(space, space.default_weights)
    if is_supernet(weights):
        found = of_same_id(str(weights), space)
        assert found.default_weights is not None  # noqa: S101 - a trained supernet has weights
        return _checked(space, found.default_weights)
    return file_and_part(weights)[0]


def trained_on(space: Space, weights: str | Path | None) -> str:
    """The images that weights to start from were trained on, in words; empty if that is not known."""
    base = space.base or space
    weights = _to_start_from(base, weights)
    if weights == PRETRAINED_WEIGHTS and not _come_with_a_package(base):
        return "" if base.published_weights is None else base.published_weights.trained_on
    named = weights in (EMBEDDED_WEIGHTS, PRETRAINED_WEIGHTS)
    return base.default_weights.trained_on if named and isinstance(base.default_weights, Resource) else ""


def _to_start_from(base: Space, weights: str | Path | None) -> str | Path:
    """The weights that a training starts from: those of the space, unless others are named."""
    if weights is not None:
        return weights
    return EMBEDDED_WEIGHTS if base.default_weights is not None else PRETRAINED_WEIGHTS


def _come_with_a_package(space: Space) -> bool:
    """Whether pretrained weights need no download."""
    return space.published_weights is None and isinstance(space.default_weights, Resource)


def _checked(space: Space, file: Resource | OwnFile) -> Path:
    """The path of a file, which must be what the space names."""
    path = file.path
    again = "train again" if isinstance(file, OwnFile) else f"reinstall {file.distribution}"
    if path is None:
        raise WeightsError(
            "its weights are in a package that is not installed",
            subject=space.id,
            hint=f"install {file.distribution}" if isinstance(file, Resource) else "",
        )
    if not path.is_file():
        belong = "supernet" if isinstance(file, OwnFile) else "package"
        raise WeightsError(
            f"the weights that belong to this {belong} are missing", subject=str(path), hint=again
        )
    if file.sha256 is not None and (found := supernets.weights_hash(path)) != file.sha256:
        raise WeightsError(
            f"is not the file that {space.id} names: its sha256 is {found}, not {file.sha256}",
            subject=str(path),
            hint=f"{again}, or name a checkpoint (`weights` PATH)",
        )
    return path


def published_path(space: Space, *, progress: downloads.Progress | None = None) -> Path:
    """The checkpoint published by the space's authors, downloaded at first use and checked."""
    published = space.published_weights
    if published is None:
        have = ", ".join(s.id for s in known_spaces() if s.published_weights is not None)
        raise WeightsError(
            "this space has no published weights to download",
            subject=space.id,
            hint=f"{have} have; for others name a checkpoint (`weights` PATH), or random",
        )
    if published.sha256 is None and published.git_blob_id is None:
        raise WeightsError(
            "its published checkpoint cannot be checked, so it is not downloaded",
            subject=space.id,
            hint=f"get {published.url} yourself and name the file (`weights` PATH)",
        )
    return downloads.fetch(
        published.url,
        filename=published.filename,
        sha256=published.sha256,
        git_blob_id=published.git_blob_id,
        progress=progress,
        hint="download it elsewhere and name the file (`weights` PATH)",
    )


def _choices() -> str:
    return (
        "choose `weights`: PATH (a checkpoint of this supernet, PATH:NAME for one of several weights in it, "
        "or the folder of a trained supernet), "
        "pretrained (a checked download), or random (UNTRAINED, for timing only)"
    )
