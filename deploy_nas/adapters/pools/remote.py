"""The part that runs on a cluster's nodes: it makes the function once per process, then works on items.

All that comes and goes is bytes: a node may have another version, which is said before any of it is read.
"""

from __future__ import annotations

import pickle
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from deploy_nas.adapters.pools.arrays import NONE, Arrays, ArraysFolder
from deploy_nas.adapters.pools.outcomes import Outcome, attempt
from deploy_nas.core import extras
from deploy_nas.core.version import __version__

Versions = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A function for many items, as it goes to every node.

    Args:
        make: the pickled maker of the function.
        arrays: where they are, if a node sees the folder.
        key: of this job, and of no other.
    """

    make: bytes
    arrays: ArraysFolder | None
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """The outcome of an item on a node.

    Args:
        kind: "done"; or "lacks": the node does not see the folder of the arrays, and got none otherwise.
        outcome: of an item that is done.
    """

    kind: Literal["done", "lacks"]
    outcome: Outcome = (None, None)


def versions() -> Versions:
    """The versions that the same results depend on: of Python, of this package, and of what it runs on."""
    runtimes = [name for name in extras.RUNTIMES if extras.version(name) is not None]
    names = ["numpy", "torch", *(runtimes or ["onnxruntime"])]
    return (
        ("Python", ".".join(platform.python_version_tuple()[:2])),
        ("deploy-nas", __version__),
        *((name, (extras.version(name) or "missing").partition("+")[0]) for name in names),
    )


def differing(here: Versions, there: Versions) -> str:
    """How another machine's versions differ, in words; empty if they are the same."""
    mine, theirs = dict(here), dict(there)
    said = [
        f"{name} {theirs.get(name, 'missing')} (here {mine.get(name, 'missing')})"
        for name in {**mine, **theirs}
        if mine.get(name) != theirs.get(name)
    ]
    return ", ".join(said)


_made: dict[str, tuple[Outcome, Arrays]] = {}


def work(job: bytes, item: bytes | None, fetch: Callable[[], Arrays] | None) -> bytes:
    """Work on an item; returns a pickled :class:`Reply`.

    Args:
        job: a pickled :class:`Job`.
        item: pickled; ``None``: the function is only made.
        fetch: gets the arrays where this node does not see their folder.
    """
    asked: Job = pickle.loads(job)  # noqa: S301 - of our own driver
    if asked.key not in _made:
        arrays = _arrays(asked, fetch)
        if arrays is None:
            return pickle.dumps(Reply(kind="lacks"))
        _made.clear()
        outcome = attempt(lambda: pickle.loads(asked.make)(arrays))  # noqa: S301
        _made[asked.key] = outcome, arrays
    (fault, function), _ = _made[asked.key]
    if fault is not None or item is None:
        return pickle.dumps(Reply(kind="done", outcome=(fault, None)))
    outcome = attempt(function, pickle.loads(item))  # noqa: S301
    return pickle.dumps(Reply(kind="done", outcome=outcome))


def _arrays(job: Job, fetch: Callable[[], Arrays] | None) -> Arrays | None:
    """From the folder, if this node sees it, else from the cluster's store; ``None``: not there yet."""
    if job.arrays is None:
        return NONE
    if job.arrays.here():
        return job.arrays.read()
    return None if fetch is None else fetch()


def unpickled(reply: bytes) -> Reply:
    """A reply of :func:`work`."""
    found: Any = pickle.loads(reply)  # noqa: S301 - of a node that has our version
    assert isinstance(found, Reply)  # noqa: S101
    return found
