"""The numbers that options take: a type for each kind.

Bounds keep a slip of the finger from filling the memory, or from running for ever.
"""

from __future__ import annotations

import math
from typing import Any

import click


class Real(click.FloatRange):
    """A number from ``least`` to ``most``, which is never NaN.

    Other numbers have their bounds where they are used, and errors that say more: budgets, shares, points,
    paces.
    """

    name = "float"

    def __init__(self, least: float, most: float) -> None:
        super().__init__(least, most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; raises :class:`click.BadParameter`."""
        if isinstance(found := click.FLOAT.convert(value, param, ctx), float) and math.isnan(found):
            self.fail(f"{value!r} is not a number", param, ctx)
        return float(super().convert(value, param, ctx))


class NamedBudget(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """``MS`` or ``NAME=MS``, as a name, empty for none, and a number."""

    name = "[name=]ms"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """The pair; raises :class:`click.BadParameter`."""
        if isinstance(value, tuple):
            return value
        name, sign, number = str(value).rpartition("=")
        if sign and not name:
            self.fail(f"{value!r} is not NAME=MS", param, ctx)
        try:
            return name, float(number)
        except ValueError:
            self.fail(f"{number!r} is not a number", param, ctx)


THREADS = click.IntRange(1, 1024)
WORKERS = click.IntRange(1, 1024)
SEED = click.IntRange(0, 2**32 - 1)
PORT = click.IntRange(0, 65_535)
SIDE = click.IntRange(1, 4096)  # of an image, pixels
IMAGES = click.IntRange(1, 10_000_000)
BATCH = click.IntRange(2, 65_536)

SUBNETS = click.IntRange(1, 1_000_000)
SUBNETS_OR_NONE = click.IntRange(0, 1_000_000)
POPULATION = click.IntRange(2, 100_000)
GENERATIONS = click.IntRange(0, 100_000)
EVALUATIONS = click.IntRange(1, 10_000_000)
CANDIDATES = click.IntRange(1, 1000)
JOBS = click.IntRange(1, 1000)
TRIES = click.IntRange(1, 100)
SWAPS = click.IntRange(0, 10_000)
MEMBERS = click.IntRange(1, 100)

EPOCHS = Real(0, 10_000)
SECONDS = Real(0, 86_400)
