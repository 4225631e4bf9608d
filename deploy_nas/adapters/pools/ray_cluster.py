"""A Ray cluster as :class:`~deploy_nas.adapters.pools.spread.Spread` needs it; the only importer of ray.

Ray ends a process whose cluster is lost, changes how that handles signals, and prints: this runs in a
process of its own (:mod:`.cluster`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy_nas.adapters.pools.arrays import Arrays
from deploy_nas.adapters.pools.remote import Job, Versions, differing, versions
from deploy_nas.core.errors import OptionError

AUTO = "auto"
# Tasks whose process or node died are begun again by Ray, this often.
_RETRIES = 9
_CONNECT_S = 3.0
_PROBE_S = 120.0
# What Ray asks before it decides that processes of this machine may be reached from others.
_LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_SOCKET_PATH = 45  # bytes of a folder that Ray's sockets, whose paths are limited, still fit below


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The cluster that was asked for.

    Args:
        address: "auto": the one that runs on this machine, or one that is started on it; else HOST:PORT.
        workers: cores of one that is started, and items at once in any; ``None``: all cores.
        cores: of this machine.
        folder: for the files of one that is started.
    """

    address: str
    workers: int | None
    cores: int
    folder: Path


def answers(address: str) -> bool:
    """Whether something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False


class RayCluster:
    """A cluster that was joined for one job.

    Args:
        asked: which cluster.
        job: to do.

    Raises:
        OptionError: it cannot be joined, or a node is unfit.
    """

    def __init__(self, asked: Asked, job: Job) -> None:
        # Nothing is reported to Ray's makers; workers warn of nothing.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        found = started_here() if asked.address == AUTO else asked.address
        if found is None:
            # Closed to other machines, and to other users of this one; Ray would keep its token at home.
            os.environ[_LOOPBACK_ONLY] = "0"
            os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"] = "token", secrets.token_hex(32)
            os.environ.pop("RAY_ADDRESS", None)
        elif (
            Path.home() / ".ray" / "auth_token"
        ).is_file():  # `ray start` takes the token that it finds there
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        import ray

        self.ray: Any = ray
        try:
            if found is None:
                ray.init(
                    address="local",
                    num_cpus=asked.workers or asked.cores,
                    num_gpus=0,
                    include_dashboard=False,
                    _node_ip_address="127.0.0.1",
                    _temp_dir=str(asked.folder) if len(bytes(asked.folder)) <= _SOCKET_PATH else None,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                )
            else:
                ray.init(address=found, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:  # Ray raises its own, and Python's
            raise _unjoined(found or "this machine", error) from error
        self.head = str(ray.get_runtime_context().gcs_address)
        if found is None and not self.head.startswith("127."):
            self.leave()
            raise OptionError(
                f"this release of Ray ({ray.__version__}) cannot be kept to this machine",
                subject="cluster",
                hint="start a cluster yourself: ray start --head",
            )
        self.folder = job.arrays
        self.job = pickle.dumps(job)
        self.versions = versions()
        self.stored: dict[str, object] | None = None
        self._task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_task())
        self._check_nodes()

    def slots(self) -> int:
        """Cores of the nodes that are alive."""
        nodes = [node for node in self.ray.nodes() if node["Alive"]]
        return sum(int(node["Resources"].get("CPU", 0)) for node in nodes)

    def alive(self) -> bool:
        """Whether the head answers."""
        return answers(self.head)

    def submit(self, item: bytes | None) -> object:
        """A task."""
        return self._task.remote(self.versions, self.job, self.stored, item)

    def wait(self, tasks: Sequence[object], timeout_s: float) -> Sequence[object]:
        """The tasks that are done."""
        done: Sequence[object] = self.ray.wait(list(tasks), num_returns=1, timeout=timeout_s)[0]
        return done

    def reply(self, task: object) -> bytes:
        """The reply of a task; raises :class:`OptionError`."""
        try:
            found = self.ray.get(task)
        except self.ray.exceptions.RayError as error:
            raise _given_up(error) from error
        if isinstance(found, bytes):
            return found
        node, unfit = found
        raise _unfit(node, unfit)

    def store(self) -> None:
        """Put the arrays into the object store, from where each node gets them once."""
        if self.stored is not None or self.folder is None:
            return
        try:
            self.stored = {name: self.ray.put(array) for name, array in self.folder.read().items()}
        except self.ray.exceptions.RayError as error:
            raise OptionError(
                f"its object store cannot take the images ({_first_line(error)})",
                subject="cluster",
                hint="start its nodes with more --object-store-memory, or set TMPDIR to a folder they share",
            ) from error

    def leave(self) -> None:
        """Leave it, or end the one that was started."""
        with contextlib.suppress(Exception):
            self.ray.shutdown()

    def _check_nodes(self) -> None:
        """Raise :class:`OptionError` for a node that is of other versions, or that does not answer."""
        strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        probe = self.ray.remote(num_cpus=0, max_retries=1)(_probe())
        asked = {
            probe.options(scheduling_strategy=strategy(node_id=node["NodeID"], soft=False)).remote(): node
            for node in self.ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU", 0)
        }
        if not asked:
            return
        done, silent = self.ray.wait(list(asked), num_returns=len(asked), timeout=_PROBE_S)
        unfit = dict.fromkeys(silent, f"does not answer within {_PROBE_S:.0f} s")
        for task in done:
            try:
                unfit[task] = _misfit(self.versions, self.ray.get(task))
            except self.ray.exceptions.RayError as error:
                unfit[task] = f"cannot run a task ({_first_line(error)})"
        alive = {node["NodeID"] for node in self.ray.nodes() if node["Alive"]}  # one may have left meanwhile
        for task, why in unfit.items():
            if why and asked[task]["NodeID"] in alive:
                raise _unfit(_name(asked[task]), why)


def _name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _misfit(mine: Versions, found: Versions | str) -> str:
    """Why a node with these versions cannot take part; empty if it can."""
    if isinstance(found, str):
        return f"has no usable deploy-nas ({found})"
    said = differing(mine, found)
    return f"has {said}" if said else ""


# -- what Ray takes to the nodes: functions by their code, which import deploy-nas there -----------------


def _probe() -> Callable[[], Versions | str]:
    def probe() -> Versions | str:
        try:
            from deploy_nas.adapters.pools.remote import versions

            return versions()
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    return probe


def _task() -> Callable[..., bytes | tuple[str, str]]:
    def task(
        mine: Versions, job: bytes, stored: dict[str, object] | None, item: bytes | None
    ) -> bytes | tuple[str, str]:
        import socket

        import ray

        try:
            from deploy_nas.adapters.pools.remote import differing, versions, work
        except Exception as error:
            return socket.gethostname(), f"has no usable deploy-nas ({type(error).__name__}: {error})"
        if said := differing(mine, versions()):
            return socket.gethostname(), f"has {said}"

        def fetch() -> Arrays:
            assert stored is not None  # noqa: S101
            found: list[Any] = ray.get(list(stored.values()))
            return dict(zip(stored, found, strict=True))

        try:
            return work(job, item, None if stored is None else fetch)
        except ray.exceptions.RayError as error:
            return socket.gethostname(), f"cannot get the weights and images ({type(error).__name__})"

    return task


# -- errors ----------------------------------------------------------------------------------------------


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _unjoined(address: str, error: Exception) -> OptionError:
    text = " ".join(str(error).split())
    if "ersion mismatch" in text:
        return OptionError(
            f"{address} is of other versions of Ray or Python ({text})",
            subject="cluster",
            hint="all its machines need the same",
        )
    if "uthentication" in text or "AuthToken" in text:
        return OptionError(
            f"{address} wants a token",
            subject="cluster",
            hint="set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as they were for its head",
        )
    return OptionError(
        f"{address} cannot be joined ({text or type(error).__name__})",
        subject="cluster",
        hint=f"this machine has to be one of its nodes: ray start --address={address}",
    )


def _unfit(node: str, why: str) -> OptionError:
    return OptionError(
        f"its node {node} {why}",
        subject="cluster",
        hint="install the same there, or take the node out (ray stop), and repeat the command, which goes on",
    )


def _given_up(error: Exception) -> OptionError:
    return OptionError(
        f"a subnet's process or node died {1 + _RETRIES} times ({_first_line(error)})",
        subject="cluster",
        hint="a node may lack memory: start it with fewer --num-cpus; what was measured is kept",
    )


def started_here() -> str | None:
    """The address of the cluster that ``RAY_ADDRESS`` names, or that ``ray start`` started on this machine.

    ``None`` if there is no such cluster, or if it has ended since.
    """
    if named := os.environ.get("RAY_ADDRESS"):
        return named
    note = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"  # noqa: S108 - Ray's
    with contextlib.suppress(OSError, ValueError):
        address = note.read_text(encoding="ascii").strip()
        return address if address and answers(address) else None
    return None
