"""Load weights into a supernet: embedded, published, from a checkpoint, or random and marked as such."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deploy_nas.adapters import downloads, supernets
from deploy_nas.core.errors import WeightsError
from deploy_nas.core.resources import Resource
from deploy_nas.core.space import Space
from deploy_nas.core.spaces import known_spaces
from deploy_nas.records.model import Provenance

if TYPE_CHECKING:
    import torch

EMBEDDED_WEIGHTS, PRETRAINED_WEIGHTS, RANDOM_WEIGHTS = "embedded", "pretrained", "random"


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
    if weights not in (PRETRAINED_WEIGHTS, RANDOM_WEIGHTS) and not Path(weights).is_file():
        raise WeightsError("this file of weights does not exist", subject=str(weights), hint=_choices())
    return weights


def load_supernet(
    space: Space,
    weights: str | Path | None = None,
    *,
    seed: int = 0,
    progress: downloads.Progress | None = None,
) -> tuple[torch.nn.Module, Provenance]:
    """The space's supernet with weights loaded, and their origin.

    Args:
        space: one whose supernet can be built.
        weights: "embedded" (the space's own, the default if it has some), "pretrained" (published by
            its authors, downloaded at first use), "random", or a checkpoint file.
        seed: of random weights.
        progress: of a download.

    Raises:
        WeightsError: no default weights, or a checkpoint that does not fit.
        DownloadError: pretrained weights that cannot be downloaded.
    """
    chosen = default_weights(space, weights)
    if chosen == RANDOM_WEIGHTS:
        net = supernets.build_supernet(space, seed=seed)
        return net, Provenance(source=RANDOM_WEIGHTS, sha256=None, trained=False, seed=seed)
    path = weights_path(space, chosen, progress=progress)
    net = supernets.build_supernet(space)
    named = chosen in (PRETRAINED_WEIGHTS, EMBEDDED_WEIGHTS)
    sha256 = supernets.load_weights(net, space, path)
    return net, Provenance(source=str(chosen) if named else path.name, sha256=sha256, trained=True)


def weights_path(space: Space, weights: str | Path, *, progress: downloads.Progress | None = None) -> Path:
    """The file of "embedded" or "pretrained" weights, or the named checkpoint.

    Raises:
        WeightsError: the space has no such weights; the package that has them is missing, or its file is, or
            is another one.
        DownloadError: pretrained weights that cannot be downloaded.
    """
    if weights == PRETRAINED_WEIGHTS:
        return published_path(space, progress=progress)
    if weights != EMBEDDED_WEIGHTS:
        return Path(weights)
    if space.default_weights is None:
        raise WeightsError("this space comes without weights", subject=space.id, hint=_choices())
    return _shipped(space, space.default_weights)


def _shipped(space: Space, resource: Resource) -> Path:
    """The file of a package, which must be what the space names."""
    path = resource.path
    if path is None:
        raise WeightsError(
            "its weights are in a package that is not installed",
            subject=space.id,
            hint=f"install {resource.distribution}",
        )
    if not path.is_file():
        raise WeightsError(
            "the weights that belong to this package are missing", subject=str(path), hint="reinstall it"
        )
    if resource.sha256 is not None and (found := supernets.weights_hash(path)) != resource.sha256:
        raise WeightsError(
            f"is not the file that {space.id} names: its sha256 is {found}, not {resource.sha256}",
            subject=str(path),
            hint=f"reinstall {resource.distribution}, or name a checkpoint (`weights` PATH)",
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
            hint=f"{have} have; for others name a checkpoint (`weights` PATH)",
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
        "choose `weights`: PATH (a checkpoint of this supernet), pretrained (a checked download), "
        "or random (UNTRAINED, for timing only)"
    )
