"""Architecture files: one architecture of one space, with its predictions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from deploy_nas.core.errors import ArchitectureError, RecordError, UnknownSpaceError
from deploy_nas.core.fields import Fields
from deploy_nas.core.notices import notice
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.seals import UNSEALED, check_seal, sealed
from deploy_nas.core.shown import Shown
from deploy_nas.core.space import Architecture, Space, image_size_of
from deploy_nas.core.spaces import get_space
from deploy_nas.records.files import read_json, write_json


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ArchitectureRecord(Shown):
    """``architecture`` in OFA's keys, and its predictions."""

    space: Space
    architecture: Architecture
    predicted: Predicted = field(default_factory=Predicted)

    @property
    def image_size(self) -> int:
        """Side of its images, pixels."""
        return image_size_of(self.architecture)

    def same_network(self, other: ArchitectureRecord) -> bool:
        """True if both are the same architecture of the same space, whatever their predictions."""
        return self.space.id == other.space.id and self.architecture == other.architecture

    def _summary(self) -> str:
        said = self.predicted
        words = [self.space.id, f"{self.image_size} px"]
        words += [] if said.latency_ms is None else [f"{said.latency_ms:.4g} ms"]
        words += [] if said.accuracy_percent is None else [f"top-1 {said.accuracy_percent:.2f}%"]
        return ", ".join(words)

    def to_json(self) -> dict[str, object]:
        """The file's object."""
        value: dict[str, object] = {"space": self.space.id, **self.architecture}
        return {**value, "predicted": self.predicted.to_json()} if self.predicted else value


def parse_space(fields: Fields) -> Space:
    """The space that ``"space"`` names; raises :class:`UnknownSpaceError` naming the file."""
    try:
        return get_space(fields.text("space"))
    except UnknownSpaceError as error:
        raise UnknownSpaceError(str(error), subject=fields.where) from error


def parse_architecture(fields: Fields) -> ArchitectureRecord:
    """From a JSON object; raises :class:`RecordError` or :class:`ArchitectureError` naming the key."""
    held = "predicted" in fields.value
    predicted = Predicted.from_json(fields.fields("predicted")) if held else Predicted()
    space = parse_space(fields)
    try:
        architecture = space.decode(space.encode([fields.value]))[0]
    except ArchitectureError as error:
        raise ArchitectureError(str(error), subject=fields.where) from error
    return ArchitectureRecord(space=space, architecture=architecture, predicted=predicted)


def load_architecture(path: Path) -> ArchitectureRecord:
    """Read an architecture file. One without a digest may be written by hand: its predictions are left out.

    Raises:
        RecordError, ArchitectureError, UnknownSpaceError: see :func:`parse_architecture`.
        MismatchError: it was edited since deploy-nas wrote it.
    """
    fields = read_json(path)
    if "space" not in fields.value:
        raise RecordError("is not an architecture file: 'space' is missing", subject=str(path))
    hint = "take 'digest' and 'predicted' out to use it as an architecture of your own, or make it again"
    held = check_seal(fields, hint=hint)
    record = parse_architecture(fields)
    if held or not record.predicted:
        return record
    notice(f"{UNSEALED}: its predictions and budgets are not used", subject=str(path))
    return replace(record, predicted=Predicted())


def save_architecture(record: ArchitectureRecord, path: Path, *, force: bool = False) -> None:
    """Write an architecture file."""
    write_json(path, sealed(record.to_json()), force=force)
