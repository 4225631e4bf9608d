"""A pool of a cluster's nodes, which a process of its own has joined, whatever becomes of the cluster."""

from __future__ import annotations

import logging
import os
import pickle
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, Protocol

from deploy_nas.adapters.pools.arrays import NONE, Arrays, write_arrays
from deploy_nas.adapters.pools.child import Child
from deploy_nas.adapters.pools.outcomes import Outcome, attempt, value_of
from deploy_nas.adapters.pools.port import Item, Result
from deploy_nas.adapters.pools.ray_cluster import AUTO, Asked, RayCluster, answers
from deploy_nas.adapters.pools.remote import Job
from deploy_nas.adapters.pools.spread import AGAIN, LOST, Cluster, Spread
from deploy_nas.core import extras
from deploy_nas.core.disk import temporary_folder
from deploy_nas.core.errors import DeployNASError, OptionError
from deploy_nas.core.notices import notice

_log = logging.getLogger(__name__)
_LEAVING_S = 10.0
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")


def check_cluster(address: str, os_name: str = os.name) -> None:
    """Raise unless a cluster of this address may be joined; done before slow work begins.

    Raises:
        MissingPackageError: Ray is not installed.
        OptionError: not an address, nothing answers there, or this system has no such clusters.
    """
    extras.require_cluster()
    if os_name != "posix":
        raise OptionError("is for Linux and macOS", subject="cluster")
    if address == AUTO:
        return
    if not _ADDRESS.fullmatch(address):
        raise OptionError(
            f"is 'auto' or HOST:PORT, not {address!r}",
            subject="cluster",
            hint="HOST:PORT is what `ray start --head` printed",
        )
    if not answers(address):
        raise OptionError(
            f"nothing answers at {address}",
            subject="cluster",
            hint="start it: ray start --head; and on this machine, if that is another: "
            f"ray start --address={address}",
        )


class Client(Protocol):
    """The process that joins the cluster (:class:`~deploy_nas.adapters.pools.child.Child`)."""

    pipe: Connection[Any, Any]

    def send(self, message: Any) -> None:
        """Send it a message."""

    def end(self, patience_s: float = 0.0) -> None:
        """End it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Notice:
    text: str


class ClusterPool:
    """A pool of a cluster's nodes; what it takes is pickled, as a :class:`ProcessPool` has it.

    Args:
        address: "auto", or HOST:PORT of the head.
        workers: items at once; ``None``: as many as the nodes have cores.
        cores: of this machine.
        client: starts the process that joins it; its argument is a file for what that prints.
    """

    local = False

    def __init__(
        self,
        address: str,
        workers: int | None = None,
        *,
        cores: int = 1,
        client: Callable[[IO[bytes]], Client] = lambda printed: Child(__name__, printed),
    ) -> None:
        self.address, self.workers, self.cores, self.client = address, workers, cores, client

    @contextmanager
    def open(
        self, make: Callable[[Arrays], Callable[[Item], Result]], arrays: Arrays = NONE
    ) -> Iterator[Callable[[Sequence[Item]], Iterable[Result]]]:
        """Join the cluster; arguments and errors as :class:`Pool` has them."""
        with temporary_folder() as folder, (folder / "client.txt").open("w+b") as printed:
            written = write_arrays(arrays, folder, digests=True) if arrays else None
            job = Job(make=pickle.dumps(make), arrays=written, key=secrets.token_hex(16))
            asked = Asked(address=self.address, workers=self.workers, cores=self.cores, folder=folder / "ray")
            client = self.client(printed)
            try:
                client.send((asked, job))
                talk = _Talk(client, folder / "client.txt")
                value_of(talk.receive())
                yield talk.run
            finally:
                client.end(_LEAVING_S)


class _Talk:
    """With the client: items go there, outcomes come back by number, in the order they are done."""

    def __init__(self, client: Client, printed: Path) -> None:
        self.client, self.printed = client, printed
        self.runs = 0

    def receive(self) -> Any:
        """The next message other than a notice; raises :class:`OptionError` if the client has died."""
        while True:
            try:
                message = self.client.pipe.recv()
            except (EOFError, OSError) as error:
                with suppress(OSError):
                    _log.debug("the cluster's client: %s", self.printed.read_text("utf-8", "replace")[-4000:])
                raise OptionError(LOST, subject="cluster", hint=AGAIN) from error
            if not isinstance(message, _Notice):
                return message
            notice(message.text, subject="cluster")

    def run(self, items: Sequence[Any]) -> Iterator[Any]:
        """Results in the items' order; a fault is raised in its turn."""
        self.runs += 1
        run, arrived = self.runs, dict[int, Outcome]()
        if items:
            self.client.send((run, list(items)))
        for wanted in range(len(items)):
            while wanted not in arrived:
                of, number, outcome = self.receive()
                if number is None:
                    value_of(outcome)
                if of == run:
                    arrived[number] = outcome
            yield value_of(arrived.pop(wanted))


# -- in the client's process -----------------------------------------------------------------------------


def serve(pipe: Connection[Any, Any], join: Callable[[Asked, Job], Cluster] = RayCluster) -> None:
    """The client: joins the cluster, reports that a node is ready, then has items done until the end."""
    with suppress(EOFError, OSError):
        asked, job = pipe.recv()
        fault, cluster = attempt(join, asked, job)
        if cluster is None:
            pipe.send((fault, None))
            return
        try:
            spread = Spread(cluster, asked.workers, lambda text: pipe.send(_Notice(text=text)), pipe.poll)
            made, outcome = attempt(spread.make)
            fault = made if made is not None else outcome[0]
            pipe.send((fault, None))
            if fault is None:
                _serve(pipe, spread)
        finally:
            cluster.leave()


def _serve(pipe: Connection[Any, Any], spread: Spread) -> None:
    """Items as they come; what comes before they are done means that the rest is not wanted."""
    while True:
        run, items = pipe.recv()
        try:
            for number, outcome in spread(items):
                pipe.send((run, number, outcome))
        except DeployNASError as error:
            pipe.send((run, None, (error, None)))
