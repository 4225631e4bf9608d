"""The state of a training in a file."""

import errno
import os

import pytest
import torch

from deploy_nas.core.errors import MismatchError, OutputError, RecordError
from deploy_nas.training.checkpoint import read_state, write_state

CPU = torch.device("cpu")
STATE = {"origin": "made up", "step": 3, "order": torch.arange(4)}


def test_a_state_comes_back_and_is_of_its_origin(tmp_path):
    path = tmp_path / "a.pt"
    write_state(path, STATE)
    state = read_state(path, "made up")
    assert state["step"] == 3 and state["order"].tolist() == [0, 1, 2, 3]
    with pytest.raises(
        MismatchError, match=r"a\.pt: began with other weights, other images or another teacher"
    ):
        read_state(path, "another")


def test_a_file_cut_short_and_one_with_code_in_it_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    write_state(path, STATE)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RecordError, match=r"a\.pt: is not a checkpoint, or is cut short"):
        read_state(path, "made up")
    torch.save({"origin": print}, path)
    with pytest.raises(RecordError, match="is not a checkpoint"):
        read_state(path, "made up")


def test_a_full_disk_is_one_clear_error_and_keeps_the_file_before(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    write_state(path, STATE)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"a\.pt: cannot be written \(No space left on device\)"):
        write_state(path, STATE)
    assert path.read_bytes() == before and [path] == list(tmp_path.iterdir())
