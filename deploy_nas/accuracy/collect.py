"""Measure subnets: which ones, and a run over them that can be cut short and gone on with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from deploy_nas.accuracy.best import Percent, distinct, plan_best
from deploy_nas.accuracy.encoding import total_figure
from deploy_nas.core.errors import MismatchError, OptionError
from deploy_nas.core.space import Architecture, IntArray, Space
from deploy_nas.records.accuracy import AccuracyData, AccuracyWriter

_POOL = 40
_BINS = 16
_TILT = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """One subnet was measured: how many are done of all, the last one's top-1, and the time left."""

    done: int
    total: int
    top1_percent: float
    remaining_s: float


def plan_subnets(space: Space, count: int, rng: np.random.Generator) -> IntArray:
    """Subnets to measure: smallest and largest, then in turn one stratified by MACs and one uniform.

    Uniform draws crowd around the middle of the space, while a search works at its borders. The
    stratified half is drawn with a tilt towards small or large choices, different for each
    architecture, and taken evenly from bins of equal width in log MACs.

    Args:
        space: the search space.
        count: how many; a shorter plan of the same rng state is no prefix of a longer one.
        rng: source of randomness.

    Returns:
        int64 ``[count, 1 + genes]``, canonical and distinct.

    Raises:
        OptionError: count below 1, or more than the space has.
    """
    if count < 1:
        raise OptionError(f"must be at least 1, is {count}", subject="count")
    ends = space.encode([space.smallest(), space.largest()])
    tilted = _stratified(space, _tilted(space, _POOL * count, rng), rng)
    uniform = space.canonical(space.sample_encoded(rng, 4 * count))
    half = min(len(tilted), 2 * count)
    turns = np.empty((2 * half, ends.shape[1]), dtype=np.int64)
    turns[0::2], turns[1::2] = tilted[:half], uniform[:half]
    plan = distinct(np.concatenate([space.canonical(ends), turns, tilted[half:], uniform[half:]]))
    if len(plan) < count:
        raise OptionError(
            f"{count} distinct subnets of {space.id} were not found, only {len(plan)}", subject="count"
        )
    return plan[:count]


def sample_broadly(space: Space, count: int, rng: np.random.Generator) -> IntArray:
    """``count`` architectures, canonical, half of them tilted as in :func:`plan_subnets`, half uniform."""
    uniform = space.canonical(space.sample_encoded(rng, count - count // 2))
    return np.concatenate([_tilted(space, count // 2, rng), uniform])


def _tilted(space: Space, count: int, rng: np.random.Generator) -> IntArray:
    """Choices with probability proportional to ``exp(tilt * position)``, position from 0 to 1."""
    tilt = rng.uniform(-_TILT, _TILT, size=(count, 1))
    encoded = np.empty((count, len(space.choice_counts)), dtype=np.int64)
    for column, choices in enumerate(space.choice_counts):
        position = np.linspace(0.0, 1.0, int(choices))
        # Gumbel's trick: the largest of logit + Gumbel noise is a draw from the softmax.
        encoded[:, column] = np.argmax(tilt * position + rng.gumbel(size=(count, int(choices))), axis=1)
    return space.canonical(encoded)


def _stratified(space: Space, pool: IntArray, rng: np.random.Generator) -> IntArray:
    """The pool reordered: a round through the bins of log MACs (in random order), then the next round."""
    macs = np.log(total_figure(space, pool, "macs"))
    edges = np.linspace(macs.min(), macs.max(), _BINS + 1)[1:-1]
    bins = np.digitize(macs, edges)
    turn = np.empty(len(pool), dtype=np.int64)
    for number in range(_BINS):
        members = np.flatnonzero(bins == number)
        turn[members] = np.arange(len(members))
    return pool[np.lexsort((rng.random(len(pool)), turn))]


def collect(
    measure: Callable[[Sequence[Architecture]], Iterable[float]],
    space: Space,
    *,
    count: int,
    rng: np.random.Generator,
    writer: AccuracyWriter,
    best_by: Percent | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> int:
    """Measure subnets until the file holds ``count``; returns how many were measured now.

    Each is in the file as soon as all before it in the plan are, so an interruption of any kind loses only
    those at work and those done before their turn. What the file held already is not measured again,
    whatever rng it was planned with; with the same rng the run goes on where it was cut, and ends with the
    same file (with ``best_by`` the rest may be others).

    Args:
        measure: gives the top-1 in percent of each architecture, in order, as they come.
        space: the search space.
        count: subnets the file shall hold.
        rng: for :func:`plan_subnets` or :func:`~deploy_nas.accuracy.best.plan_best`.
        writer: the open file.
        best_by: accuracy in percent of rows of choices: the best by it are measured, not a broad draw.
        progress: called after each subnet.

    Raises:
        MismatchError: the file is of another space.
        OptionError: as those.
        RecordError: ``measure`` gave no percentage.
    """
    if writer.header.space.id != space.id:
        raise MismatchError(f"is of space {writer.header.space.id}, not {space.id}", subject=str(writer.path))
    held = len(writer.done)
    todo = _left(space, count, rng, writer.done, best_by)
    started = time.monotonic()
    for number, (architecture, top1_percent) in enumerate(zip(todo, measure(todo), strict=True), start=1):
        writer.append(architecture, top1_percent)
        if progress is not None:
            each_s = (time.monotonic() - started) / number
            progress(
                Progress(
                    done=held + number,
                    total=held + len(todo),
                    top1_percent=top1_percent,
                    remaining_s=each_s * (len(todo) - number),
                )
            )
    return len(todo)


def _left(
    space: Space, count: int, rng: np.random.Generator, done: AccuracyData, best_by: Percent | None
) -> list[Architecture]:
    """The planned subnets that are not measured yet, in order, as many as are wanting."""
    wanted = max(0, count - len(done))
    if best_by is not None:
        return space.decode(plan_best(space, best_by, wanted, rng, done.encoded)) if wanted else []
    plan = plan_subnets(space, count, rng)
    known = {row.tobytes() for row in space.canonical(done.encoded)}
    rows = [row for row in plan if row.tobytes() not in known][:wanted]
    return space.decode(np.array(rows)) if rows else []
