"""Arguments as people give them: paths, texts, dicts and values, each turned into the value that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from deploy_nas.core.errors import ArchitectureError, OptionError
from deploy_nas.core.fields import Fields
from deploy_nas.core.of_space import OfSpace
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.resources import OwnFile
from deploy_nas.core.seals import DIGEST, check_seal
from deploy_nas.core.space import Space
from deploy_nas.deploy.export import promise
from deploy_nas.records.architecture import ArchitectureRecord, load_architecture
from deploy_nas.records.profile import Profile, load_profile
from deploy_nas.records.supernet import space_named


class HasRecord(Protocol):
    """The result of a search, or one of its candidates."""

    @property
    def record(self) -> ArchitectureRecord:
        """The architecture that was found."""


GivenPath = str | Path
GivenSpace = str | Path | Space
GivenProfile = str | Path | Profile
GivenArchitecture = str | Path | Mapping[str, object] | ArchitectureRecord | HasRecord


def space_of(given: GivenSpace) -> Space:
    """A space by id, folder of a trained supernet, or as it is; raises :class:`UnknownSpaceError`."""
    return given if isinstance(given, Space) else space_named(str(given))


def space_name(given: GivenSpace) -> str:
    """The id or folder that names a space."""
    if not isinstance(given, Space):
        return str(given)
    own = given.default_weights
    return str(own.path.parent) if isinstance(own, OwnFile) else given.id


def profile_given(given: GivenProfile) -> Profile:
    """A profile by its file, or as it is; raises as :func:`load_profile`."""
    return given if isinstance(given, Profile) else load_profile(Path(given))


def architecture_given(given: GivenArchitecture, space: GivenSpace | None = None) -> ArchitectureRecord:
    """An architecture by its file, its dict, or the value that holds it.

    Args:
        given: the architecture.
        space: of a dict that does not say it itself.

    Raises:
        ArchitectureError: a dict that names no space, or does not fit it.
        RecordError, MismatchError, UnknownSpaceError: see :func:`load_architecture`.
    """
    if isinstance(given, ArchitectureRecord):
        return given
    if isinstance(given, str | Path):
        return load_architecture(Path(given))
    if isinstance(given, Mapping):
        return _of_dict(given, space)
    if isinstance(found := getattr(given, "record", None), ArchitectureRecord):
        return found
    raise OptionError(f"is {type(given).__name__}: give a file or a dict", subject="architecture")


def _of_dict(given: Mapping[str, object], space: GivenSpace | None) -> ArchitectureRecord:
    named: object = space
    if named is None:
        named = given.space if isinstance(given, OfSpace) else None
    if named is None:
        named = given.get("space")
    if not isinstance(named, str | Path | Space):
        raise ArchitectureError(
            "the architecture does not name its space",
            subject="space",
            hint='add the key "space", or name it with `space`',
        )
    if DIGEST in given:
        check_seal(Fields(dict(given), "the architecture"), hint="take 'digest' and 'predicted' out")
    found = space_of(named)
    architecture = found.decode(found.encode([given]))[0]
    said = promise(given["predicted"]) if "predicted" in given else Predicted()
    return ArchitectureRecord(space=found, architecture=architecture, predicted=said)
