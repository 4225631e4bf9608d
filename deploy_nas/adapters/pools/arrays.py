"""Arrays that every worker reads: files of a folder, which processes map and so share."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy_nas.core.arrays import Array
from deploy_nas.core.disk import unwritable

Arrays = Mapping[str, Array]
NONE: Arrays = {}
_TOKEN = "token"  # noqa: S105 - the name of a file
_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, kw_only=True, slots=True)
class ArraysFolder:
    """A folder with an array in each file, as another process finds it.

    Args:
        folder: where it is.
        names: of the arrays.
        token: what one file of it holds, and no other folder of that name anywhere.
        digests: sha256 of each array's file, in the order of the names; empty: they are not compared.
    """

    folder: Path
    names: tuple[str, ...]
    token: str
    digests: tuple[str, ...] = ()

    def read(self) -> Arrays:
        """The arrays, mapped from their files; raises :class:`OSError`."""
        return {name: np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in self.names}

    def here(self) -> bool:
        """Whether this machine sees this very folder, with these very bytes."""
        try:
            if (self.folder / _TOKEN).read_text(encoding="ascii") != self.token:
                return False
            return all(
                _digest(self.folder / f"{name}.npy") == digest
                for name, digest in zip(self.names, self.digests, strict=True)
            )
        except (OSError, ValueError):
            return False


def write_arrays(arrays: Arrays, folder: Path, *, digests: bool = False) -> ArraysFolder:
    """Write arrays into a folder.

    Raises:
        OutputError: it cannot be written.
    """
    token = secrets.token_hex(16)
    try:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        (folder / _TOKEN).write_text(token, encoding="ascii")
        found = tuple(_digest(folder / f"{name}.npy") for name in arrays) if digests else ()
    except OSError as error:
        raise unwritable(folder, error) from error
    return ArraysFolder(folder=folder, names=tuple(arrays), token=token, digests=found)


def _digest(path: Path) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_CHUNK_BYTES):
            whole.update(part)
    return whole.hexdigest()
