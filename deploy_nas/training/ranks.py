"""Processes that train one network together, each on its part of a batch (torchrun starts them).

The gradients are averaged here, once per step, rather than by torch's DistributedDataParallel. A step is
several backward passes of different subnets: DistributedDataParallel averages in the last of them what that
one used, and would leave out what only earlier ones did.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from deploy_nas.core.errors import DeployNASError, OptionError
from deploy_nas.training.launch import launched

T = TypeVar("T")

# The first process may profile a device before the others are needed.
_PATIENCE = timedelta(hours=2)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(kw_only=True, slots=True)
class Ranks:
    """This process among those that train together; by default it trains alone.

    Args:
        rank: its number; the first, 0, writes and prints.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1
    said_elsewhere: DeployNASError | None = field(default=None, repr=False)

    @property
    def first(self) -> bool:
        """Whether it writes and prints."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    def part(self, total: int) -> slice:
        """The part of a batch that this process works on; all are equally large.

        Raises:
            OptionError: they cannot be.
        """
        if total % self.size:
            raise OptionError(
                f"{total} images cannot be divided evenly among {self.size} processes",
                subject="batch_size",
                hint=f"use a multiple of {self.size}",
            )
        each = total // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    # -- numbers -------------------------------------------------------------------------------

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Set each tensor to its mean over the processes, in all of them."""
        if self.alone or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        self.add_up(flat)
        flat /= self.size
        with torch.no_grad():
            begin = 0
            for tensor in tensors:
                end = begin + tensor.numel()
                tensor.copy_(flat[begin:end].view(tensor.shape))
                begin = end

    def add_up(self, tensor: torch.Tensor) -> None:
        """Set a tensor to its sum over the processes, in all of them."""
        with self._together():
            distributed.all_reduce(tensor)

    def share(self, tensors: Sequence[torch.Tensor]) -> None:
        """Set each tensor to that of the first process."""
        if self.alone:
            return
        with self._together(), torch.no_grad():
            for tensor in tensors:
                held = tensor.detach().contiguous()
                distributed.broadcast(held, src=0)
                tensor.copy_(held)

    # -- words ---------------------------------------------------------------------------------

    def told(self, work: Callable[[], T]) -> T:
        """The value or the error of ``work`` in the first process, in all; the others do not call it."""
        if self.alone:
            return work()
        outcome: list[Any] = [None, None]
        if self.first:
            outcome = _attempt(work)
        with self._together():
            distributed.broadcast_object_list(outcome, src=0)
        value: T = self._value(outcome, mine=self.first)
        return value

    def alike(self, work: Callable[[], T]) -> T:
        """The value of ``work`` here; if it raises in any process, all end, and one of them says why."""
        if self.alone:
            return work()
        outcome = _attempt(work)
        faults: list[DeployNASError | None] = [None] * self.size
        with self._together():
            distributed.all_gather_object(faults, outcome[0])
        failed = next((rank for rank, fault in enumerate(faults) if fault is not None), None)
        if failed is not None:
            outcome = [faults[failed], None]
        value: T = self._value(outcome, mine=failed in (None, self.rank))
        return value

    def agree(self, what: str, value: str) -> None:
        """Raise :class:`OptionError` unless all processes have the same value of something."""
        if self.alone:
            return
        found: list[str] = [""] * self.size
        with self._together():
            distributed.all_gather_object(found, value)
        others = [rank for rank, theirs in enumerate(found) if theirs != found[0]]
        if others:
            fault = OptionError(
                f"process {others[0]} has other {what} than process 0",
                subject="torchrun on these machines",
                hint="all of them need the same command, images and versions",
            )
            self._value([fault, None], mine=self.first)

    def _value(self, outcome: list[Any], *, mine: bool) -> Any:
        fault, value = outcome
        if fault is not None:
            self.said_elsewhere = None if mine else fault
            raise fault
        return value

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """A context for calls that need the others; raises :class:`OptionError` if one of them is gone."""
        try:
            yield
        except RuntimeError as error:
            raise self.lost() from error

    def lost(self) -> OptionError:
        """Another process ended before its time."""
        return OptionError(
            "another process of this training ended",
            subject=f"process {self.rank} of {self.size}",
            hint="it said why, unless it was killed; what was trained up to the last checkpoint is kept, "
            "and the same command goes on, with as many processes or with one",
        )


ALONE = Ranks()


def _attempt(work: Callable[[], object]) -> list[Any]:
    try:
        return [None, work()]
    except DeployNASError as error:
        return [error, None]


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The processes that torchrun started with this one, for as long as they train; by default it is alone.

    Within, every process has to do the same: each waits for the others. An error that another one has said
    ends this one without a word.

    Raises:
        OptionError: they cannot be joined, or one of them ended.
    """
    here = launched()
    if here is None:
        yield ALONE
        return
    if device.type == "mps" or not distributed.is_available():
        raise OptionError(
            "several processes train on CPUs or on CUDA devices",
            subject="device",
            hint="name `device` cpu or cuda",
        )
    ranks = Ranks(rank=here.rank, size=here.size)
    if device.type == "cuda":
        if here.local_rank >= torch.cuda.device_count():
            raise OptionError(
                f"{torch.cuda.device_count()} on this machine, process {here.local_rank + 1} has none",
                subject="CUDA devices",
                hint="start as many processes as there are devices",
            )
        torch.cuda.set_device(here.local_rank)
    if os.environ["MASTER_ADDR"] in _LOOPBACK:
        loopback = "lo0" if sys.platform == "darwin" else "lo"
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, loopback)
    with _told_to_end(ranks):
        try:
            distributed.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                timeout=_PATIENCE,
                device_id=torch.device("cuda", here.local_rank) if device.type == "cuda" else None,
            )
        except (RuntimeError, ValueError) as error:
            raise OptionError(
                f"cannot join the others ({' '.join(str(error).split())[:200]})",
                subject=f"process {ranks.rank} of {ranks.size}",
                hint="start all of them by torchrun",
            ) from error
        try:
            yield ranks
        except DeployNASError as error:
            if error is ranks.said_elsewhere:
                raise SystemExit(error.exit_code) from error
            raise
        distributed.destroy_process_group()


@contextlib.contextmanager
def _told_to_end(ranks: Ranks) -> Iterator[None]:
    """torchrun tells the others to end when one has died: they say so rather than vanish."""

    def end(number: int, frame: types.FrameType | None) -> None:
        raise ranks.lost()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def uninterrupted(ranks: Ranks) -> Iterator[None]:
    """While a first Ctrl-C is heeded, those that torchrun passes on are not."""
    if ranks.alone or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
