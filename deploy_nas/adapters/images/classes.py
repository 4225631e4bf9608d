"""Class folders: which files lie in which, and in what order the classes are numbered."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy_nas.core.errors import ImagesError
from deploy_nas.records.sources import Parts

_SPLITS = frozenset(
    {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "evaluation"}
)
_NUMBER = re.compile(r"[0-9]{1,18}")
_LAYOUT = "the layout is CLASS/IMAGE.jpg, at most inside one leading folder"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassFolders:
    """The pictures of each class, in the order of the classes' numbers.

    Args:
        files: by class name, which is in Unicode's composed form (NFC); each sorted by name.
        numeric: true if all names are whole numbers and are sorted as such.
    """

    files: dict[str, list[Parts]]
    numeric: bool


def by_class(files: Sequence[Parts], folders: Sequence[Parts], source: Path) -> ClassFolders:
    """Group pictures by class folder.

    Args:
        files: the pictures.
        folders: all folders, empty ones too.
        source: for errors.

    Raises:
        ImagesError: a picture outside a class folder or deeper than that, a dataset with splits, an empty
            class folder, or two folders whose names are the same but for case, leading zeros or the form of
            their Unicode.
    """
    depth = _depth(files, folders)
    _check_layout(files, depth, source)
    groups: dict[str, list[Parts]] = {}
    spelled: dict[str, str] = {}
    for parts in (*files, *(parts for parts in folders if len(parts) >= depth)):
        name = unicodedata.normalize("NFC", raw := parts[depth - 1])
        if spelled.setdefault(name, raw) != raw:
            raise ImagesError(
                f"has two class folders {name!r}, whose names differ in the form of their Unicode",
                subject=str(source),
                hint="move the pictures of both into one",
            )
        groups.setdefault(name, [])
    for parts in files:
        groups[unicodedata.normalize("NFC", parts[depth - 1])].append(parts)
    numeric = all(_NUMBER.fullmatch(name) for name in groups)
    _check_apart(groups, numeric, source)
    ordered = sorted(groups, key=lambda name: (int(name) if numeric else 0, name))
    if files and (empty := [name for name in ordered if not groups[name]]):
        raise ImagesError("this class folder holds no images", subject=f"{source}: {empty[0]}")
    return ClassFolders(files={name: sorted(groups[name]) for name in ordered}, numeric=numeric)


def _depth(files: Sequence[Parts], folders: Sequence[Parts]) -> int:
    """At which depth class folders lie: 1, or 2 inside one leading folder."""
    leading = {parts[0] for parts in (*files, *folders)}
    one = len(leading) == 1 and all(len(parts) > 1 for parts in files)
    return 2 if one and any(len(parts) > 2 for parts in files) else 1


def _check_layout(files: Sequence[Parts], depth: int, source: Path) -> None:
    tops = sorted({parts[depth - 1] for parts in files if len(parts) > depth})
    astray = [parts for parts in files if len(parts) != depth + 1]
    if tops and {name.lower() for name in tops} <= _SPLITS and (len(tops) > 1 or astray):
        first = next((name for name in tops if name.lower().startswith("train")), tops[0])
        leading = next(parts[: depth - 1] for parts in files)
        raise ImagesError(
            f"holds {', '.join(tops)} instead of class folders: this looks like a dataset with splits",
            subject=str(source),
            hint=f"name {source.joinpath(*leading, first)}"
            if source.is_dir()
            else f"unzip it and name its folder {'/'.join((*leading, first))}",
        )
    if astray:
        raise ImagesError(
            "is not in a class folder", subject=f"{source}: {'/'.join(astray[0])}", hint=_LAYOUT
        )


def _check_apart(names: Iterable[str], numeric: bool, source: Path) -> None:
    """Raise :class:`ImagesError` for two names that a person or a file system may take for one."""
    seen: dict[str | int, str] = {}
    for name in sorted(names):
        other = seen.setdefault(int(name) if numeric else name.casefold(), name)
        if other != name:
            how = "are the same number" if numeric else "differ only in case"
            raise ImagesError(
                f"the class folders {other!r} and {name!r} {how}",
                subject=str(source),
                hint="move the pictures of both into one, or give one another name",
            )
