import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from deploy_nas.core.recipe import Recipe
from deploy_nas.training.passes import Elastic, Passes

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
LARGEST, SMALLEST = {"width": 8, "image_size": 16}, {"width": 4, "image_size": 12}


class Toy(nn.Module):
    """Two widths in one shape."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 2)
        self.width = torch.tensor(8.0)

    def forward(self, x):
        mask = torch.arange(8, device=x.device) < self.width  # a number, wherever it lies
        return self.head((torch.relu(self.bn(self.conv(x))) * mask[:, None, None]).mean((2, 3)))


class Masked:
    def __init__(self, net):
        self.net = net

    def genes(self, architecture):
        return np.asarray([architecture["width"]], dtype=np.float32)

    def __call__(self, x, genes):
        self.net.width = genes[0]
        return self.net(x)


class Answers(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))[:, :2]


def passes(teacher=None, device="cpu", **recipe):
    torch.manual_seed(0)
    net = Toy().to(device)
    elastic = Elastic(
        net=net,
        activate=lambda a: setattr(net, "width", torch.tensor(float(a["width"]))),
        sample=lambda rng: LARGEST,
        smallest=SMALLEST,
        largest=LARGEST,
        image_sizes=(12, 16),
        masked=Masked(net),
    )
    recipe = Recipe(temperature=4.0, label_smoothing=0.0, **recipe)
    return Passes(elastic, device=torch.device(device), teacher=teacher, recipe=recipe, written=lambda: [])


def test_the_loss_of_softened_answers_is_a_divergence_times_the_temperature_twice():
    one = passes(Answers())
    logits = torch.tensor([[1.0, 3.0], [0.0, -2.0]])
    t = 4.0
    assert one.loss(logits, (logits / t).softmax(1)).abs() < 1e-6
    wanted, given = (torch.tensor([[0.0, 1.0]]) / t).softmax(1), (logits[:1] / t).softmax(1)
    divergence = (wanted * (wanted.log() - given.log())).sum() * t * t
    torch.testing.assert_close(one.loss(logits[:1], wanted), divergence)


def test_without_a_teacher_labels_are_learnt():
    one, labels = passes(), torch.tensor([1, 0])
    assert one.targets(torch.zeros(2, 3, 16, 16), labels) is labels
    logits = torch.tensor([[1.0, 3.0], [0.0, -2.0]])
    torch.testing.assert_close(one.loss(logits, labels), nn.functional.cross_entropy(logits, labels))


def test_gradients_of_subnets_add_up_and_looking_leaves_none():
    one, x, labels = passes(), torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 0, 1])
    one.update_statistics(x, LARGEST)
    assert one.net.conv.weight.grad is None and one.net.bn.num_batches_tracked == 1
    one.learn(x, labels, labels, LARGEST)
    largest = one.net.conv.weight.grad.clone()
    one.learn(x, labels, labels, SMALLEST)
    both = one.net.conv.weight.grad.clone()
    one.net.zero_grad()
    one.learn(x, labels, labels, SMALLEST)
    torch.testing.assert_close(both, largest + one.net.conv.weight.grad)


def test_statistics_are_never_gathered_of_masked_subnets(monkeypatch):
    one = passes()
    monkeypatch.setattr(one.replay, "device", torch.device("cuda"))
    monkeypatch.setattr(one, "precision", contextlib.nullcontext)
    monkeypatch.setattr(Masked, "__call__", lambda self, x, genes: pytest.fail("masked"))
    one.update_statistics(torch.rand(2, 3, 16, 16), {"width": 6, "image_size": 12})
    assert one.net.bn.num_batches_tracked == 1


@CUDA
def test_recorded_passes_are_those_that_are_run():
    recorded, plain = passes(Answers(), "cuda"), passes(Answers(), "cuda")
    plain.replay.device = torch.device("cpu")  # runs everything as it comes
    generator = torch.Generator().manual_seed(0)
    other = {"width": 6, "image_size": 12}
    for one in (recorded, plain):
        one.precision = lambda: torch.autocast("cuda", enabled=False)
    for _ in range(3):
        x = torch.rand(4, 3, 16, 16, generator=generator).cuda()
        labels = torch.tensor([0, 1, 0, 1]).cuda()
        for architecture in (LARGEST, SMALLEST, other):
            ends = []
            for one in (recorded, plain):
                one.net.zero_grad(set_to_none=False)
                loss, _ = one.learn(x, one.targets(x, labels), labels, architecture)
                ends.append([loss, *(p.grad for p in one.net.parameters()), *one.net.buffers()])
            for mine, wanted in zip(*ends, strict=True):
                torch.testing.assert_close(mine, wanted)
    assert len(recorded.replay.recorded) == 4


def test_a_teacher_and_the_labels_share_the_loss():
    x, labels = torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 0, 1])
    losses = {}
    for share in (0.0, 0.25, 1.0):
        one = passes(Answers(), teacher_share=share)
        losses[share] = float(one.learn(x, one.targets(x, labels), labels, LARGEST)[0])
    assert losses[0.25] == pytest.approx(0.75 * losses[0.0] + 0.25 * losses[1.0], rel=1e-5)
    assert losses[0.0] != pytest.approx(losses[1.0], rel=0.01)
