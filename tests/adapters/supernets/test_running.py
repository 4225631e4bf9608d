"""Logits of nets, and batch-norm statistics estimated again as ofa estimates them."""

import numpy as np
import pytest
import torch
from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics

from deploy_nas.adapters import supernets
from deploy_nas.core.errors import ImagesError
from deploy_nas.core.spaces import get_space

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]

SMALL = get_space("ofa-mbv3-cifar10")


def test_recalibration_agrees_with_ofa(small):
    architecture = SMALL.sample(np.random.default_rng(3))
    size = architecture["image_size"]
    rng = np.random.default_rng(4)
    batches = [rng.standard_normal((n, 3, size, size)).astype(np.float32) for n in (9, 4)]
    before = {k: v.clone() for k, v in small.state_dict().items()}
    theirs, ours = supernets.subnet(small, architecture), supernets.subnet(small, architecture)
    set_running_statistics(theirs, [(torch.from_numpy(b), None) for b in batches])
    assert supernets.recalibrate(ours, iter(batches)) == 13
    for (name, want), got in zip(theirs.state_dict().items(), ours.state_dict().values(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5, msg=name)
    assert all(torch.equal(v, before[k]) for k, v in small.state_dict().items())
    fresh = supernets.forward(ours, batches[0])
    np.testing.assert_allclose(fresh, supernets.forward(theirs, batches[0]), atol=1e-3)
    assert not np.allclose(
        fresh, supernets.forward(supernets.subnet(small, architecture), batches[0]), atol=1e-2
    )


def test_recalibration_needs_images_and_leaves_the_net_as_it_was(small):
    taken = supernets.subnet(small, SMALL.smallest())
    before = {k: v.clone() for k, v in taken.state_dict().items()}
    with pytest.raises(ImagesError, match="no images"):
        supernets.recalibrate(taken, [])

    def breaking():
        yield np.zeros((2, 3, 24, 24), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supernets.recalibrate(taken, breaking())
    assert all(torch.equal(v, before[k]) for k, v in taken.state_dict().items())


def test_logits_are_those_of_the_module(small):
    taken = supernets.subnet(small, SMALL.smallest())
    x = np.random.default_rng(0).standard_normal((2, 24, 24, 3), dtype=np.float32).transpose(0, 3, 1, 2)
    with torch.no_grad():
        expected = taken(torch.from_numpy(np.ascontiguousarray(x))).numpy()
    found = supernets.forward(taken, x)
    assert found.dtype == np.float32 and found.shape == (2, 10)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_number_of_torch_threads_is_restored():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), supernets.one_torch_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == before
