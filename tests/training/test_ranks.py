"""Processes that train together: two real ones, once, and what one alone does."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deploy_nas.core.errors import OptionError
from deploy_nas.training.ranks import ALONE, Ranks, joined, uninterrupted

# Each of two processes runs it; what it asserts is seen in its exit code.
SCRIPT = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from torch import nn
sys.path.insert(0, sys.argv[2])
import test_loop
from deploy_nas.core.errors import ImagesError, OptionError
from deploy_nas.training.ranks import joined
from deploy_nas.training.shared_norm import shared_norms

folder = Path(sys.argv[1])
torch.set_num_threads(1)
with joined(torch.device("cpu")) as ranks:
    assert ranks.size == 2 and ranks.first == (ranks.rank == 0)
    # numbers
    both = [torch.tensor([1.0 + ranks.rank, 4.0]), torch.tensor(3.0 * ranks.rank)]
    ranks.average(both)
    assert both[0].tolist() == [1.5, 4.0] and both[1].item() == 1.5
    mine = torch.full((2, 2), float(ranks.rank))
    ranks.share([mine])
    assert mine.sum() == 0
    # batch norm
    x, norm = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)), nn.BatchNorm2d(3)
    with shared_norms(ranks):
        part = norm(x[ranks.part(8)])
    torch.testing.assert_close(part, nn.BatchNorm2d(3)(x)[ranks.part(8)])
    # words
    assert ranks.told(lambda: ranks.rank) == 0 and ranks.alike(lambda: ranks.rank) == ranks.rank
    ranks.agree("images", "the same")

    def bad(rank):
        if ranks.rank == rank:
            raise ImagesError(f"bad in {rank}")

    for way, rank in ((ranks.told, 0), (ranks.alike, 0), (ranks.alike, 1)):
        try:
            way(lambda: bad(rank))
            raise AssertionError
        except ImagesError as error:
            assert error.message == f"bad in {rank}"
            assert (ranks.said_elsewhere is error) == (ranks.rank != rank)
    try:
        ranks.agree("images", str(ranks.rank))
        raise AssertionError
    except OptionError as error:
        assert "process 1 has other images than process 0" in str(error)
    # a training, whole and stopped
    short = replace(test_loop.RECIPE, largest_epochs=1, sandwich_epochs=1, decay_epochs=1, frozen_steps=3)
    one = test_loop.trainer(folder / "whole.pt", recipe=short, ranks=ranks)
    weights = one.run()
    broken = test_loop.trainer(folder / "broken.pt", recipe=short, checkpoint_every_s=0.0, ranks=ranks)
    step, count = broken.train_step, [0]

    def stopping(phase):
        count[0] += 1
        if count[0] == 10:
            raise test_loop.StopError
        return step(phase)

    broken.train_step = stopping
    try:
        broken.run()
        raise AssertionError
    except test_loop.StopError:
        pass
    if ranks.first:
        torch.save([weights, [point.loss for point in one.curve]], folder / "two.pt")
    ranks.told(lambda: None)
    if ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.told(lambda: None)
    ranks.average([torch.zeros(1)])
"""


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path, repository):
    import importlib.util

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": str(repository),
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, tmp_path, here],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    # Meanwhile one process alone.
    spec = importlib.util.spec_from_file_location("toy", here / "test_loop.py")
    toy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toy)
    short = replace(toy.RECIPE, largest_epochs=1, sandwich_epochs=1, decay_epochs=1, frozen_steps=3)
    alone = toy.trainer(tmp_path / "alone.pt", recipe=short)
    weights = alone.run()
    said = [process.communicate(timeout=300)[1] for process in pair]
    # The second was killed at the very end, which the first says.
    assert pair[1].returncode == -signal.SIGKILL, said[1]
    assert "process 0 of 2: another process of this training ended" in said[0], said[0]
    two, losses = torch.load(tmp_path / "two.pt")
    assert losses == pytest.approx([point.loss for point in alone.curve], abs=2e-3)
    resumed = toy.trainer(tmp_path / "broken.pt", recipe=short)
    ended = resumed.run()
    assert resumed.curve[-1].loss == pytest.approx(losses[-1], abs=2e-3)
    for name, value in weights.items():
        torch.testing.assert_close(two[name], value, rtol=0.02, atol=0.02)
        torch.testing.assert_close(ended[name], value, rtol=0.02, atol=0.02)


def test_one_process_alone_does_what_it_is_told():
    with joined(torch.device("cpu")) as ranks:
        assert ranks is ALONE and ranks.alone and ranks.first
    assert ALONE.part(7) == slice(0, 7)
    assert ALONE.told(lambda: 3) == 3 and ALONE.alike(lambda: 4) == 4
    value = torch.ones(2)
    ALONE.average([value])
    ALONE.share([value])
    ALONE.agree("images", "any")
    assert value.tolist() == [1.0, 1.0]


def test_parts_are_equally_large():
    assert [Ranks(rank=rank, size=3).part(9) for rank in range(3)] == [slice(0, 3), slice(3, 6), slice(6, 9)]
    with pytest.raises(OptionError, match="batch_size: 32 images cannot be divided evenly"):
        Ranks(rank=0, size=3).part(32)


def test_devices_that_cannot_be_shared_are_named(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    with (
        pytest.raises(OptionError, match="device: several processes train on CPUs"),
        joined(torch.device("mps")),
    ):
        pass
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with (
        pytest.raises(OptionError, match="CUDA devices: 0 on this machine, process 1 has none"),
        joined(torch.device("cuda")),
    ):
        pass


def test_saving_after_ctrl_c_is_not_interrupted_by_another():
    before = signal.getsignal(signal.SIGINT)
    with uninterrupted(Ranks(rank=0, size=2)):
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    with uninterrupted(ALONE):
        assert signal.getsignal(signal.SIGINT) is before
