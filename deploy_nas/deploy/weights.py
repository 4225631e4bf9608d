"""Which weights a supernet gets: its own, published ones, a checkpoint's, or random ones that say so."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy_nas.adapters import downloads, supernets
from deploy_nas.core.errors import WeightsError
from deploy_nas.core.space import Space
from deploy_nas.core.spaces import EMBEDDED

if TYPE_CHECKING:
    import torch

EMBEDDED_WEIGHTS, PRETRAINED_WEIGHTS, RANDOM_WEIGHTS = "embedded", "pretrained", "random"
UNTRAINED = "UNTRAINED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where weights came from.

    Args:
        source: "embedded", "pretrained", "random", or the checkpoint's file name.
        sha256: of the file's bytes as they were loaded; ``None`` for random weights.
        trained: false for random weights.
        seed: of random weights.
        recalibrated: images the batch-norm statistics were estimated anew on; 0: as loaded.
    """

    source: str
    sha256: str | None
    trained: bool
    seed: int | None = None
    recalibrated: int = 0

    def to_json(self) -> dict[str, Any]:
        """As the model's metadata has it; random weights say UNTRAINED."""
        value: dict[str, Any] = {
            "source": self.source,
            "sha256": self.sha256,
            "trained": self.trained,
            "recalibrated": self.recalibrated,
        }
        return value if self.trained else {**value, "seed": self.seed, "warning": UNTRAINED}


def default_weights(space: Space, weights: str | Path | None) -> str | Path:
    """``weights``, or the space's default; raises :class:`WeightsError` where there is none."""
    if weights is None:
        if space.id == EMBEDDED:
            return EMBEDDED_WEIGHTS
        raise WeightsError("this space has no weights of its own here", subject=space.id, hint=_choices())
    if weights == EMBEDDED_WEIGHTS and space.id != EMBEDDED:
        raise WeightsError(f"only {EMBEDDED} comes with embedded weights", subject=space.id, hint=_choices())
    if weights not in (EMBEDDED_WEIGHTS, PRETRAINED_WEIGHTS, RANDOM_WEIGHTS) and not Path(weights).is_file():
        raise WeightsError("there is no such file of weights", subject=str(weights), hint=_choices())
    return weights


def load_supernet(
    space: Space,
    weights: str | Path | None = None,
    *,
    seed: int = 0,
    progress: downloads.Progress | None = None,
) -> tuple[torch.nn.Module, Provenance]:
    """The space's supernet with weights in it, and where they came from.

    Args:
        space: one that ``ofa`` can build.
        weights: "embedded" (the embedded space's default), "pretrained" (downloaded at first use),
            "random", or a checkpoint file.
        seed: of random weights.
        progress: of a download.

    Raises:
        WeightsError: no weights named, or a checkpoint that does not fit.
        DownloadError: pretrained weights that cannot be had.
    """
    chosen = default_weights(space, weights)
    if chosen == RANDOM_WEIGHTS:
        net = supernets.build_supernet(space, seed=seed)
        return net, Provenance(source=RANDOM_WEIGHTS, sha256=None, trained=False, seed=seed)
    if chosen == PRETRAINED_WEIGHTS:
        path = downloads.pretrained_weights(space.id, progress=progress)
    elif chosen == EMBEDDED_WEIGHTS:
        path = embedded_path(space)
    else:
        path = Path(chosen)
    net = supernets.build_supernet(space)
    named = chosen in (PRETRAINED_WEIGHTS, EMBEDDED_WEIGHTS)
    sha256 = supernets.load_weights(net, space, path)
    return net, Provenance(source=str(chosen) if named else path.name, sha256=sha256, trained=True)


def embedded_path(space: Space) -> Path:
    """The package's own weights of that space; raises :class:`WeightsError` where they are missing."""
    path = Path(str(resources.files("deploy_nas"))) / "data" / f"{space.id}.safetensors"
    if not path.is_file():
        raise WeightsError(
            "the weights that belong to this package are missing", subject=str(path), hint="install it anew"
        )
    return path


def _choices() -> str:
    return (
        "choose: --weights PATH (a checkpoint of this supernet), --weights pretrained (a checked download), "
        "or --weights random (UNTRAINED, for timing only)"
    )
