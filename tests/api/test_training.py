"""Trainings get the arguments that they are given; what they do is their workflows' to test."""

from pathlib import Path

import pytest

import deploy_nas
from deploy_nas.api import training

pytestmark = pytest.mark.slow  # its modules load PyTorch


@pytest.mark.parametrize(
    ("name", "workflow", "arguments", "expected"),
    [
        ("collect_accuracies", "collect", ("ofa-mbv3-cifar10", "i", "o"), {"images": Path("i")}),
        ("train", "train_supernet", ("i", "o"), {"output": Path("o"), "flip": True}),
    ],
)
def test_requests(monkeypatch, name, workflow, arguments, expected):
    asked = []
    monkeypatch.setattr(training, workflow, lambda request, *others: asked.append(request))
    getattr(deploy_nas, name)(*arguments)
    assert {key: getattr(asked[0], key) for key in expected} == expected


def test_a_build_has_a_budget_or_several(monkeypatch):
    asked = []
    monkeypatch.setattr(training, "build_networks", lambda request, *others: asked.append(request))
    deploy_nas.build("i", "o", max_latency_ms=8, subnets=40)
    deploy_nas.build("i", "o", max_latency_ms=[8, 20])
    assert [a.budgets_ms for a in asked] == [(8,), (8, 20)]
    assert asked[0].training.output == Path("o/supernet") and asked[0].training.subnets == 40


def test_a_dict_is_fine_tuned_in_the_folders_space(monkeypatch, rng):
    asked = []
    monkeypatch.setattr(training, "finetune_subnet", lambda request, *others: asked.append(request))
    sample = deploy_nas.get_space("ofa-mbv3-cifar10").sample(rng)
    deploy_nas.finetune(dict(sample), "i", "o", space="ofa-mbv3-cifar10")
    assert asked[0].architecture.architecture == sample
