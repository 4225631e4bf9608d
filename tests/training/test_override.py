import pytest
import torch
from torch import nn

from deploy_nas.training.override import FunctionOverride

pytestmark = pytest.mark.slow


def test_calls_that_apply_are_replaced_and_others_are_not():
    x, double = torch.tensor([-1.0, 2.0]), torch.tensor([-1.0, 2.0], dtype=torch.float64)
    with FunctionOverride(torch.relu, lambda x: x.dtype == torch.float32, lambda x: x * 10):
        assert torch.relu(x).tolist() == [-10.0, 20.0]
        assert torch.relu(double).tolist() == [0.0, 2.0]
        assert torch.abs(x).tolist() == [1.0, 2.0]
    assert torch.relu(x).tolist() == [0.0, 2.0]


def test_calls_inside_modules_are_replaced_with_their_keyword_arguments():
    conv = nn.Conv2d(1, 1, 1, bias=False)
    x = torch.ones(1, 1, 2, 2)
    seen = []

    def replacement(x, weight, *rest, **named):
        seen.append((len(rest), sorted(named)))
        return torch.zeros(1)

    with FunctionOverride(torch.conv2d, lambda *a, **k: True, replacement):
        assert conv(x).tolist() == [0.0]
        assert torch.conv2d(x, conv.weight, stride=2).tolist() == [0.0]
    assert len(seen) == 2 and seen[1] == (0, ["stride"])


def test_the_replacement_may_call_the_function():
    x = torch.tensor([-1.0, 2.0])
    with FunctionOverride(torch.relu, lambda x: True, lambda x: -torch.relu(x)):
        assert torch.relu(x).tolist() == [0.0, -2.0]
