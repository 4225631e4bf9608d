"""The report of one reading: what was used, what was left out and why, and what was done to the pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from deploy_nas.core.reading import Reading

NAMED_AT_MOST = 5


class LeftOut(NamedTuple):
    """A picture that was not used: its path in the source, and the reason ("is cut short")."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ReadingReport:
    """How the files of one folder or zip were read.

    Args:
        source: the folder or zip.
        used: number of pictures that were read.
        left_out: the pictures that could not be used.
        not_pictures: number of other files.
        not_pictures_named: the first of their names.
        turned, transparent, sixteen_bit, animated, enlarged, numeric_order, classes: as
            :class:`~deploy_nas.core.reading.Reading` has them.
        size: side in pixels that ``enlarged`` pictures were smaller than; ``None`` if they kept their size.
    """

    source: str = ""
    used: int = 0
    left_out: tuple[LeftOut, ...] = ()
    not_pictures: int = 0
    not_pictures_named: tuple[str, ...] = ()
    turned: int = 0
    transparent: int = 0
    sixteen_bit: int = 0
    animated: int = 0
    enlarged: int = 0
    numeric_order: bool = False
    classes: int = 0
    size: int | None = None

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the pictures that were left out."""
        return tuple(name for name, _ in self.left_out)

    def reading(self, *, model_classes: int | None = None, by_position: bool = False) -> Reading:
        """The counts, to be kept beside a figure; ``model_classes`` and ``by_position`` are of its model."""
        return Reading(
            used=self.used,
            left_out=len(self.left_out),
            not_pictures=self.not_pictures,
            turned=self.turned,
            transparent=self.transparent,
            sixteen_bit=self.sixteen_bit,
            animated=self.animated,
            enlarged=self.enlarged,
            numeric_order=self.numeric_order,
            classes=self.classes,
            model_classes=model_classes,
            by_position=by_position,
        )

    def lines(self) -> list[str]:
        """One line for each thing worth knowing; none if every file was read as it is."""
        of = self.used + len(self.left_out)
        said = [
            (
                len(self.left_out),
                f"left out: {len(self.left_out)} of {counted(of, 'picture')} ({named(self.left_out)})",
            ),
            (
                self.not_pictures,
                f"left out: {counted(self.not_pictures, 'file')} that {_are_no_pictures(self.not_pictures)} "
                f"({shortened(self.not_pictures_named, self.not_pictures)})",
            ),
            (self.turned, f"{counted(self.turned, 'picture')} turned upright, as EXIF says"),
            (self.transparent, f"{counted(self.transparent, 'transparent picture')} laid over white"),
            (self.sixteen_bit, f"{counted(self.sixteen_bit, 'picture')} of depth 16 reduced to 8"),
            (
                self.animated,
                f"{counted(self.animated, 'picture')} with several frames: the first was used",
            ),
            (
                self.enlarged,
                f"{counted(self.enlarged, 'picture')} smaller than {self.size} px enlarged",
            ),
            (self.numeric_order, "classes in numeric order"),
        ]
        return [line for happened, line in said if happened]


def named(left_out: Iterable[LeftOut]) -> str:
    """The first of the pictures left out, each with its reason: "a.png is empty, b.heic ..."."""
    found = [f"{name} {reason}" for name, reason in left_out]
    return shortened(found[:NAMED_AT_MOST], len(found))


def shortened(names: Iterable[str], count: int) -> str:
    """The names, and an ellipsis if ``count`` says that there are more."""
    shown = list(names)
    return ", ".join(shown + ["..."] * (count > len(shown)))


def counted(count: int, thing: str) -> str:
    """A number of things: 1 file, 2 files."""
    return f"{count} {thing}" + ("" if count == 1 else "s")


def _are_no_pictures(count: int) -> str:
    return "is not a picture" if count == 1 else "are not pictures"
