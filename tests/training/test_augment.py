import numpy as np
import pytest
import torch

from deploy_nas.core.recipe import Augmentation
from deploy_nas.training.augment import Batches, class_weights, spans


def batches(rng, images, labels=None, **changes):
    options = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "size": 10, "side": images.shape[-1]}
    given = {key: changes.pop(key) for key in list(changes) if key not in {"size", "side"}}
    augmentation = Augmentation(**{"cutout_pixels": 4, **given})
    labels = np.zeros(len(images), dtype=np.int64) if labels is None else labels
    return Batches(
        images,
        labels,
        rng=rng,
        device=torch.device("cpu"),
        augmentation=augmentation,
        **{**options, **changes},
    )


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


CUT = {"shift_pixels": 0, "cutout_pixels": 0, "least_area": 0.3}


def pixels(x):
    return (x * 0.25 + 0.5) * 255


def test_cuts_are_parts_of_the_picture_enlarged_and_whole_ones_nearly_all_of_it(rng):
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, None, None], (1, 3, 64, 64))
    made = batches(rng, ramp.copy(), size=40, side=32, flip=False, **CUT)
    spans_of = {}
    for whole in (False, True):
        row = pixels(made.next(whole=whole)[0][:, 0, 16])
        assert row.shape == (40, 32) and (row.diff(dim=1) >= -0.01).all()
        spans_of[whole] = (row[:, -1] - row[:, 0]).numpy()
    assert spans_of[False].min() < 40 < 45 < spans_of[True].min()
    assert spans_of[False].std() > 2 * spans_of[True].std()


def test_nothing_is_mirrored_where_that_is_not_allowed(rng):
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, None, None], (1, 3, 64, 64)).copy()
    for changes in ({"side": 32, **CUT}, {"shift_pixels": 2, "cutout_pixels": 0}):
        for flip in (False, True):
            x = pixels(batches(rng, ramp, size=60, flip=flip, **changes).next()[0][:, 0, 16])
            falls = (x[:, 8] > x[:, 24]).float().mean()
            assert 0.2 < falls < 0.8 if flip else falls == 0


def test_colours_change_but_not_of_whole_pictures(rng):
    grey = np.full((1, 3, 8, 8), 100, dtype=np.uint8)
    made = batches(rng, grey, size=50, colour=0.3, **CUT | {"least_area": 1.0})
    levels = pixels(made.next()[0]).mean((1, 2, 3))
    assert levels.min() < 85 and levels.max() > 115
    assert torch.allclose(pixels(made.next(whole=True)[0]), torch.tensor(100.0), atol=0.01)


def test_rare_classes_weigh_more_and_an_image_one_on_average():
    labels = np.array([0] * 16 + [1] * 4)
    weights = class_weights(labels, 3, 0.5)
    assert weights[1] / weights[0] == pytest.approx(2.0) and weights[2] == 0
    assert weights[labels].mean() == pytest.approx(1.0)
    assert class_weights(labels, 2, 0.0).tolist() == [1.0, 1.0]
