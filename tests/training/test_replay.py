import pytest
import torch

from deploy_nas.training.replay import Replay

pytestmark = pytest.mark.slow

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_on_a_cpu_functions_are_called_every_time():
    replay = Replay(torch.device("cpu"), lambda: pytest.fail("nothing is recorded"))
    calls = []

    def function(x):
        calls.append(x)
        return (x + 1,)

    assert not replay.records
    for key in ("a", "a", None):
        assert replay(key, function, torch.tensor(1.0))[0] == 2.0
    assert len(calls) == 3 and not replay.recorded


def test_without_a_key_functions_are_called_even_where_they_are_recorded():
    replay = Replay(torch.device("cuda"), list)
    assert replay.records
    assert replay(None, lambda x: (x * 2,), torch.tensor(3.0)) == (torch.tensor(6.0),)
    assert not replay.recorded


@CUDA
def test_a_recorded_function_is_replayed_and_recording_leaves_the_state():
    total = torch.zeros(1, device="cuda")
    replay = Replay(torch.device("cuda"), lambda: [total])
    calls = []

    def function(x):
        calls.append(x)
        total.add_(x)
        return (x * 2,)

    for number in (1.0, 2.0, 3.0):
        (found,) = replay("double", function, torch.tensor([number], device="cuda"))
        assert found.item() == 2 * number
    assert total.item() == 6.0
    assert len(calls) == 3  # two to warm up, one to record
    replay("other", lambda x: (x + 1,), torch.tensor([1.0], device="cuda"))
    assert list(replay.recorded) == ["double", "other"]
