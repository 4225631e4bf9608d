import pytest
import torch
from torch import nn

from deploy_nas.training import depthwise
from deploy_nas.training.depthwise import quick_depthwise


@pytest.fixture(autouse=True)
def without_avx512(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


def results(conv, x):
    x = x.clone().requires_grad_()
    conv.zero_grad()
    y = conv(x)
    (y * torch.arange(y.numel()).view_as(y).cos()).sum().backward()
    return y.detach(), x.grad, conv.weight.grad


@pytest.mark.parametrize("size", [(1, 1), (2, 4), (4, 4), (3, 5)])
def test_small_maps_have_the_same_output_and_gradients(size):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False)
    x = torch.randn(8, 6, *size)
    whole = results(conv, x)
    with quick_depthwise():
        quick = results(conv, x)
    for a, b in zip(whole, quick, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def taken(conv, x, monkeypatch):
    calls = []
    apply = depthwise._Depthwise5.apply
    monkeypatch.setattr(depthwise._Depthwise5, "apply", lambda *a: calls.append(a) or apply(*a))
    with quick_depthwise():
        conv(x)
    return len(calls)


def test_it_is_taken_for_a_small_map(monkeypatch):
    conv = nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False)
    assert taken(conv, torch.randn(2, 6, 4, 4), monkeypatch) == 1


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, 8),
        ({"stride": 2}, 4),
        ({"padding": 0}, 5),
        ({"dilation": 2}, 4),
        ({"bias": True}, 4),
        ({"groups": 1}, 4),
        ({"kernel_size": 3, "padding": 1}, 4),
    ],
)
def test_others_are_left_alone(changes, size, monkeypatch):
    values = {"kernel_size": 5, "padding": 2, "groups": 6, "bias": False, **changes}
    if values.get("dilation") == 2:
        values["padding"] = 4
    assert taken(nn.Conv2d(6, 6, **values), torch.randn(2, 6, size, size), monkeypatch) == 0


def test_with_avx512_nothing_changes(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    conv = nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False)
    assert taken(conv, torch.randn(2, 6, 4, 4), monkeypatch) == 0
