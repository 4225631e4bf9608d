import pytest
import torch

from deploy_nas.training.teacher import teacher_net

pytestmark = pytest.mark.slow


def test_the_teacher_is_a_resnet_for_small_images():
    net = teacher_net(10, seed=0).eval()
    assert net.conv1.stride == (1, 1) and net.conv1.kernel_size == (3, 3)
    stages = []
    net.layer1.register_forward_hook(lambda _, inputs, output: stages.append(tuple(output.shape[1:])))
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert stages == [(64, 32, 32)]


def test_a_seed_gives_a_net_and_leaves_the_global_generator():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (teacher_net(10, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
