import numpy as np
import pytest
import torch

from deploy_nas.training.augment import Batches, spans


def batches(rng, images, labels=None, **changes):
    options = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "size": 10, "cutout_pixels": 4}
    labels = np.zeros(len(images), dtype=np.int64) if labels is None else labels
    return Batches(images, labels, rng=rng, device=torch.device("cpu"), **{**options, **changes})


def test_cutout_hides_one_square_a_picture_anywhere(rng):
    made = batches(rng, rng.integers(0, 120, (50, 3, 16, 16), dtype=np.uint8))
    holes = made.holes(50, 16)
    assert holes.sum((1, 2, 3)).min() >= 4 and holes.sum((1, 2, 3)).max() == 16
    assert not torch.equal(holes[0], holes[1])
    assert (made.next()[0] == 0).any() and not (made.next(whole=True)[0] == 0).any()


def test_every_picture_comes_once_before_any_twice_with_its_label(rng):
    images = np.repeat(np.arange(1, 26, dtype=np.uint8), 3 * 64).reshape(25, 3, 8, 8)
    made = batches(rng, images, np.arange(25), size=5, cutout_pixels=0)
    for _ in range(2):
        seen = []
        for _ in range(5):
            x, y = made.next()
            seen += y.tolist()
            inner = ((x[:, 0].amax((1, 2)) * 0.25 + 0.5) * 255).round().long()
            assert torch.equal(inner, y + 1)
        assert sorted(seen) == list(range(25))


@pytest.mark.parametrize("flipped", [False, True])
def test_crops_are_windows_of_the_padded_picture(rng, flipped):
    picture = rng.integers(1, 255, (1, 3, 8, 8), dtype=np.uint8)
    made = batches(rng, picture, size=1, cutout_pixels=0)
    padded = np.pad(picture[0], ((0, 0), (4, 4), (4, 4)))
    windows = [padded[:, i : i + 8, j : j + 8] for i in range(9) for j in range(9)]
    mirrored = [w[:, :, ::-1] for w in windows]
    found = 0
    for _ in range(20):
        x = ((made.next()[0][0].numpy() * 0.25 + 0.5) * 255).round().astype(np.uint8)
        assert any(np.array_equal(x, w) for w in windows + mirrored)
        found += any(np.array_equal(x, w) for w in (mirrored if flipped else windows))
    assert found


def test_a_batch_may_be_larger_than_all_images(rng):
    made = batches(rng, rng.integers(0, 255, (3, 3, 8, 8), dtype=np.uint8), np.arange(3), size=8)
    seen = [*made.next()[1].tolist(), *made.next()[1].tolist()]
    assert [sorted(seen[i : i + 3]) for i in range(0, 15, 3)] == [[0, 1, 2]] * 5


def test_spans_cover_all():
    assert list(spans(7, 3)) == [(0, 3), (3, 6), (6, 7)] and list(spans(0, 3)) == []
