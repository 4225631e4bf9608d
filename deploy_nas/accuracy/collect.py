"""Measuring subnets: the plan of which to measure, and a run that can be interrupted and resumed."""

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
_MAX_BIAS = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """One more subnet was measured: subnets done and in total, its top-1, and the estimated time left."""

    done: int
    total: int
    top1_percent: float
    remaining_s: float


def plan_subnets(space: Space, count: int, rng: np.random.Generator) -> IntArray:
    """Subnets to measure: the smallest, the largest, then alternately one stratified by MACs and one uniform.

    Uniform draws concentrate in the middle of the space, whereas a search works at its borders. The
    stratified half is drawn with a bias towards small or large choices, different for each architecture,
    and taken evenly from bins of equal width in log MACs.

    Args:
        space: the search space.
        count: number of subnets; a plan's beginning depends on it.
        rng: source of all randomness.

    Returns:
        int64 ``[count, 1 + genes]``, canonical and distinct.

    Raises:
        OptionError: count below 1, or more than the space has.
    """
    if count < 1:
        raise OptionError(f"must be at least 1, is {count}", subject="count")
    ends = space.encode([space.smallest(), space.largest()])
    biased = _stratified(space, _biased(space, _POOL * count, rng), rng)
    uniform = space.canonical(space.sample_encoded(rng, 4 * count))
    half = min(len(biased), 2 * count)
    turns = np.empty((2 * half, ends.shape[1]), dtype=np.int64)
    turns[0::2], turns[1::2] = biased[:half], uniform[:half]
    plan = distinct(np.concatenate([space.canonical(ends), turns, biased[half:], uniform[half:]]))
    if len(plan) < count:
        raise OptionError(
            f"found only {len(plan)} distinct subnets of {space.id}, {count} were asked for", subject="count"
        )
    return plan[:count]


def sample_broadly(space: Space, count: int, rng: np.random.Generator) -> IntArray:
    """``count`` canonical architectures, half of them biased as in :func:`plan_subnets`, half uniform."""
    uniform = space.canonical(space.sample_encoded(rng, count - count // 2))
    return np.concatenate([_biased(space, count // 2, rng), uniform])


def _biased(space: Space, count: int, rng: np.random.Generator) -> IntArray:
    """Choices with probability proportional to ``exp(bias * position)``, position from 0 to 1."""
    bias = rng.uniform(-_MAX_BIAS, _MAX_BIAS, size=(count, 1))
    encoded = np.empty((count, len(space.choice_counts)), dtype=np.int64)
    for column, choices in enumerate(space.choice_counts):
        position = np.linspace(0.0, 1.0, int(choices))
        # Gumbel-max trick: the argmax of logit + Gumbel noise is a draw from the softmax.
        encoded[:, column] = np.argmax(bias * position + rng.gumbel(size=(count, int(choices))), axis=1)
    return space.canonical(encoded)


def _stratified(space: Space, pool: IntArray, rng: np.random.Generator) -> IntArray:
    """The pool reordered in rounds: each takes one row of every bin of log MACs, in random order."""
    macs = np.log(total_figure(space, pool, "macs"))
    edges = np.linspace(macs.min(), macs.max(), _BINS + 1)[1:-1]
    bins = np.digitize(macs, edges)
    round_of = np.empty(len(pool), dtype=np.int64)
    for number in range(_BINS):
        members = np.flatnonzero(bins == number)
        round_of[members] = np.arange(len(members))
    return pool[np.lexsort((rng.random(len(pool)), round_of))]


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
    """Measure subnets until the file holds ``count``; returns the number measured by this call.

    Subnets are written in the order of the plan, each as soon as it and all before it are measured, so an
    interruption loses only the measurements in progress and those waiting for an earlier one. Subnets in the
    file are not measured again. With the same rng an interrupted run resumes where it stopped and ends with
    the same file; with ``best_by`` the remaining subnets may differ.

    Args:
        measure: yields the top-1 in percent of each architecture, in order.
        space: the search space.
        count: subnets in the file at the end.
        rng: draws the plan.
        writer: the open file.
        best_by: accuracy in percent of encoded rows; measures the best by it instead of a broad draw.
        progress: called after each subnet.

    Raises:
        MismatchError: the file is of another space.
        OptionError: see :func:`plan_subnets` and :func:`~deploy_nas.accuracy.best.plan_best`.
        RecordError: ``measure`` returned a value that is not a percentage.
    """
    if writer.header.space.id != space.id:
        raise MismatchError(f"is of space {writer.header.space.id}, not {space.id}", subject=str(writer.path))
    held = len(writer.done)
    todo = _unmeasured(space, count, rng, writer.done, best_by)
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


def _unmeasured(
    space: Space, count: int, rng: np.random.Generator, done: AccuracyData, best_by: Percent | None
) -> list[Architecture]:
    """The planned subnets that are not in the file, in order, up to ``count`` in total."""
    wanted = max(0, count - len(done))
    if best_by is not None:
        return space.decode(plan_best(space, best_by, wanted, rng, done.encoded)) if wanted else []
    plan = plan_subnets(space, count, rng)
    known = {row.tobytes() for row in space.canonical(done.encoded)}
    rows = [row for row in plan if row.tobytes() not in known][:wanted]
    return space.decode(np.array(rows)) if rows else []
