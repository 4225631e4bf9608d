"""Architecture files: one architecture of one space, with what was predicted of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy_nas.core.errors import ArchitectureError, RecordError, UnknownSpaceError
from deploy_nas.core.space import Architecture, Space
from deploy_nas.core.spaces import get_space
from deploy_nas.records.files import Fields, read_json, write_json


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchitectureRecord:
    """``architecture`` in OFA's keys; ``predicted`` as :func:`parse_predicted` takes it, empty where none."""

    space: Space
    architecture: Architecture
    predicted: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The file's object."""
        value = {"space": self.space.id, **self.architecture}
        return {**value, "predicted": self.predicted} if self.predicted else value


def parse_space(fields: Fields) -> Space:
    """The space that ``"space"`` names; raises :class:`UnknownSpaceError` naming the file."""
    try:
        return get_space(fields.text("space"))
    except UnknownSpaceError as error:
        raise UnknownSpaceError(str(error), subject=fields.where) from error


def parse_architecture(fields: Fields) -> ArchitectureRecord:
    """From a JSON object; raises :class:`RecordError` or :class:`ArchitectureError` naming the key."""
    predicted = parse_predicted(fields.fields("predicted")) if "predicted" in fields.value else {}
    space = parse_space(fields)
    try:
        architecture = space.decode(space.encode([fields.value]))[0]
    except ArchitectureError as error:
        raise ArchitectureError(str(error), subject=fields.where) from error
    return ArchitectureRecord(space=space, architecture=architecture, predicted=predicted)


_POSITIVE = frozenset(
    {"latency_ms", "bound_ms", "budget_ms", "measured_ms"}
    | {"millionMACs", "params_million", "KBPeakMemory", "model_mb"}
)
_NUMBERS = ("accuracy", "accuracy_spread", "confidence")
_TEXTS = ("accuracy_unit", "accuracy_note", "profile", "precision", "picked", "device")
_MOST_THREADS = 4096
_OPTIONAL = ("bound_ms", "budget_ms", "confidence", "accuracy")


def parse_predicted(fields: Fields) -> dict[str, Any]:
    """What was predicted, its known figures checked; others stay as they are.

    Raises:
        RecordError: a figure of another type, infinite, or below what it can be; names it.
    """
    value = fields.value
    held = {key for key in value if not (key in _OPTIONAL and value[key] is None)}
    for key in held.intersection(_POSITIVE):
        fields.number(key, positive=True)
    for key in held.intersection(_NUMBERS):
        fields.number(key)
    for key in held.intersection(_TEXTS):
        fields.text(key)
    for key, least, most in (("threads", 1, _MOST_THREADS), ("seed", 0, None)):
        if key in held:
            fields.integer(key, least, most)
    for other in fields.objects("others") if "others" in held else ():
        other.text("device")
        parse_predicted(other)
    return dict(value)


def load_architecture(path: Path) -> ArchitectureRecord:
    """Read an architecture file."""
    fields = read_json(path)
    if "space" not in fields.value:
        raise RecordError("is no architecture file: it has no 'space'", subject=str(path))
    return parse_architecture(fields)


def save_architecture(record: ArchitectureRecord, path: Path, *, force: bool = False) -> None:
    """Write an architecture file."""
    write_json(path, record.to_json(), force=force)
