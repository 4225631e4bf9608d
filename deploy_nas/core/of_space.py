"""An architecture that knows its space: a dict in OFA's keys, as :class:`Space` makes them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy_nas.core.space import Space


class OfSpace(dict[str, int | float | list[int | float]]):
    """A dict like any other (equal to a plain one, and written as one), with the attribute ``space``.

    Copies keep it. What is built anew of its items, ``dict(it)`` or ``{**it}``, does not, and needs the key
    ``"space"``.
    """

    __slots__ = ("space",)

    def __init__(
        self,
        items: Mapping[str, int | float | list[int | float]]
        | Iterable[tuple[str, int | float | list[int | float]]] = (),
        space: Space | None = None,
    ) -> None:
        super().__init__(items)
        self.space = space

    def copy(self) -> OfSpace:
        """A shallow copy of the same space."""
        return OfSpace(self, self.space)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, object]) -> OfSpace:
        return OfSpace({key: copy.copy(value) for key, value in self.items()}, self.space)

    def __reduce__(self) -> tuple[type[dict[str, object]], tuple[dict[str, object]]]:
        return dict, (dict(self),)  # another process may not know the space
