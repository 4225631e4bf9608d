"""The extras: packages that only some tasks need, and the errors that say how to get them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util

from deploy_nas.core.errors import MissingPackageError

SUPERNETS = ("torch", "ofa", "torchvision", "safetensors", "gdown", "tqdm")
"""The modules that it brings."""

CLUSTER = "ray"
"""The module of the extra ``cluster``, which spreads measurements over machines."""

RUNTIMES = tuple(
    "onnxruntime" + of
    for of in ("", "-directml", "-gpu", "-migraphx", "-openvino", "-qnn", "-rocm", "-silicon", "-training")
)
"""The distributions that bring the module onnxruntime."""

ADVICE = (
    "to build, train and export supernets, install the extra: python3 -m pip install 'deploy-nas[supernets]'"
)


CLUSTER_ADVICE = "to use a cluster, install the extra: python3 -m pip install 'deploy-nas[cluster]'"


def require_cluster() -> None:
    """Raise :class:`MissingPackageError` unless the extra ``cluster`` is installed; imports nothing."""
    if not installed(CLUSTER):
        raise MissingPackageError(
            "needed for `cluster`, and not installed", subject=CLUSTER, hint=CLUSTER_ADVICE
        )


def require_supernets() -> None:
    """Raise :class:`MissingPackageError` unless the extra is installed; imports nothing.

    Called before slow work begins that would need it at its end.
    """
    if lacking := [name for name in SUPERNETS if not installed(name)]:
        raise _error(lacking)


def installed(module: str) -> bool:
    """Whether a module can be found; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def version(distribution: str) -> str | None:
    """The version of an installed distribution, which is not imported; ``None`` if it is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(distribution)
    return None


def missing(error: ImportError) -> MissingPackageError | None:
    """The error that names the extra of a module that was not found; ``None``: it is not of the extra."""
    if isinstance(error, ModuleNotFoundError) and error.name in SUPERNETS:
        return _error([name for name in SUPERNETS if not installed(name)] or [str(error.name)])
    return None


def _error(lacking: list[str]) -> MissingPackageError:
    others = " and others" if len(lacking) > 2 else ""
    return MissingPackageError(
        "needed for this, and not installed", subject=", ".join(lacking[:2]) + others, hint=ADVICE
    )
