import pytest

from deploy_nas.core.errors import OptionError
from deploy_nas.training.launch import Launch, is_first, launched

SAID = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def unsaid(monkeypatch):
    for name in SAID:
        monkeypatch.delenv(name, raising=False)


def said(monkeypatch, **changes):
    for name, value in {**SAID, **changes}.items():
        monkeypatch.setenv(name, value)


def test_a_process_is_alone_unless_torchrun_says_otherwise(monkeypatch):
    assert launched() is None and is_first()
    monkeypatch.setenv("RANK", "3")  # a scheduler's, of something else
    assert launched() is None
    said(monkeypatch)
    assert launched() == Launch(rank=1, size=4, local_rank=1) and not is_first()
    said(monkeypatch, RANK="0")
    assert is_first()
    said(monkeypatch, RANK="0", WORLD_SIZE="1")
    assert launched() is None


@pytest.mark.parametrize("changes", [{"RANK": "x"}, {"RANK": "4"}, {"WORLD_SIZE": "0"}, {"LOCAL_RANK": "-1"}])
def test_what_cannot_be_is_named(monkeypatch, changes):
    said(monkeypatch, **changes)
    with pytest.raises(OptionError, match=r"RANK"):
        launched()
