"""How pictures were read, in counts: a figure measured on pictures keeps this beside it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from deploy_nas.core.fields import Fields


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Counts of the pictures of one folder or zip, and how its class folders were numbered.

    Args:
        used: pictures that were read.
        left_out: pictures that could not be used.
        not_pictures: other files, which were ignored.
        turned: pictures turned upright, as their EXIF orientation asks.
        transparent: pictures laid over white.
        sixteen_bit: pictures whose channels were reduced from 16 bits to 8.
        animated: pictures with several frames, of which the first was used.
        enlarged: pictures that were smaller than the size asked for.
        numeric_order: true if the class folders are whole numbers and were sorted as such.
        classes: class folders; 0 if the pictures have no labels.
        model_classes: classes of the model they were matched with; ``None`` without a model.
        by_position: true if that model names no classes, so that the folders' numbers or order count.
    """

    used: int
    left_out: int = 0
    not_pictures: int = 0
    turned: int = 0
    transparent: int = 0
    sixteen_bit: int = 0
    animated: int = 0
    enlarged: int = 0
    numeric_order: bool = False
    classes: int = 0
    model_classes: int | None = None
    by_position: bool = False

    @property
    def part_of_classes(self) -> str:
        """The words " of 3 of 10 classes", or none if the pictures are of all classes of the model."""
        if self.model_classes is None or self.model_classes == self.classes:
            return ""
        return f" of {self.classes} of {self.model_classes} classes"

    def to_json(self) -> dict[str, object]:
        """The object in files: ``used``, ``left_out``, and of the rest what is not 0, false or unknown."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        always = ("used", "left_out")
        return {key: held for key, held in values.items() if key in always or held}

    @classmethod
    def from_json(cls, held: Fields) -> Reading:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            used=held.integer("used", 0),
            left_out=held.integer("left_out", 0),
            not_pictures=held.optional_integer("not_pictures", 0) or 0,
            turned=held.optional_integer("turned", 0) or 0,
            transparent=held.optional_integer("transparent", 0) or 0,
            sixteen_bit=held.optional_integer("sixteen_bit", 0) or 0,
            animated=held.optional_integer("animated", 0) or 0,
            enlarged=held.optional_integer("enlarged", 0) or 0,
            numeric_order=held.optional_boolean("numeric_order") or False,
            classes=held.optional_integer("classes", 0) or 0,
            model_classes=held.optional_integer("model_classes", 1),
            by_position=held.optional_boolean("by_position") or False,
        )
