"""Subnets on images, with a supernet of random weights and images it can be told from."""

from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.accuracy import evaluate
from deploy_nas.accuracy.evaluate import SubnetEvaluator
from deploy_nas.adapters import supernets
from deploy_nas.adapters.images import ImageSet, SizedImages, at_sizes, preprocess
from deploy_nas.core.errors import ImagesError
from deploy_nas.core.space import Space

pytestmark = pytest.mark.slow


def images(count: int, classes: int = 10, seed: int = 0) -> ImageSet:
    rng = np.random.default_rng(seed)
    return ImageSet(
        images=rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8),
        labels=np.sort(rng.integers(0, max(classes, 1), count)),
        classes=tuple(map(str, range(classes))),
        source="made up",
    )


def sized(given: ImageSet) -> SizedImages:
    return at_sizes(given, (20, 24, 28, 32))


@pytest.fixture(scope="module")
def net() -> "torch.nn.Module":  # noqa: F821
    from deploy_nas.core.spaces import get_space

    return supernets.build_supernet(get_space("ofa-mbv3-cifar10"), seed=0)


def guesses(space: Space, net: object, architecture: dict, given: ImageSet) -> np.ndarray:
    x = preprocess(given.images, architecture["image_size"], space.mean, space.std)
    return supernets.forward(supernets.subnet(net, architecture), x).argmax(axis=1)


def test_top1_is_the_share_of_right_guesses(space: Space, net: object) -> None:
    given = images(30)
    for architecture in (space.smallest(24), space.largest(28)):
        expected = 100.0 * float((guesses(space, net, architecture, given) == given.labels).mean())
        evaluator = SubnetEvaluator(space, net, sized(given))
        assert evaluator.top1_percent(architecture) == pytest.approx(expected)
        labels = guesses(space, net, architecture, given)
        right = ImageSet(images=given.images, labels=labels, classes=given.classes, source="")
        assert SubnetEvaluator(space, net, sized(right)).top1_percent(architecture) == 100.0


def test_recalibration_leaves_the_supernet_alone(space: Space, net: object) -> None:
    given = images(20)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    evaluator = SubnetEvaluator(space, net, sized(given), sized(given))
    small = space.smallest(24)
    first = evaluator.top1_percent(small)
    assert evaluator.top1_percent(small) == first
    after = net.state_dict()
    assert all(bool((after[k] == v).all()) for k, v in before.items())


def test_calibration_uses_mixed_batches_of_all_images(
    space: Space, net: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(supernets, "recalibrate", lambda _, batches: seen.extend(batches))
    calibration = images(20, seed=1)
    monkeypatch.setattr(evaluate, "_CALIBRATION_BATCH", 8)
    SubnetEvaluator(space, net, sized(images(10)), sized(calibration)).top1_percent(space.smallest(32))
    assert [len(b) for b in seen] == [8, 8, 4]
    found = np.concatenate(seen)
    expected = preprocess(calibration.images, 32, space.mean, space.std)
    assert not np.array_equal(found, expected)
    key = np.lexsort(found.reshape(20, -1)[:, :3].T)
    wanted = np.lexsort(expected.reshape(20, -1)[:, :3].T)
    np.testing.assert_array_equal(found[key], expected[wanted])


def test_images_that_do_not_fit(space: Space, net: object) -> None:
    with pytest.raises(ImagesError, match="3 class folders, the supernet of ofa-mbv3-cifar10 has 10"):
        SubnetEvaluator(space, net, sized(images(5, classes=3)))
    with pytest.raises(ImagesError, match="no labels"):
        SubnetEvaluator(space, net, sized(images(5, classes=0)))


def test_the_images_of_the_subnets_size_are_classified(space: Space, net: object) -> None:
    given, other = sized(images(40)), sized(images(40, seed=9))
    mixed = SizedImages({**given.by_size, 24: replace(other.by_size[24], labels=given.first.labels)})
    small = space.smallest(24)
    right = (guesses(space, net, small, images(40, seed=9)) == given.first.labels).mean()
    assert SubnetEvaluator(space, net, mixed).top1_percent(small) == pytest.approx(100.0 * float(right))
