"""Sets in memory: parts, mirror images, other sizes, and what they keep of their reading."""

from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.adapters.images import storage
from deploy_nas.adapters.images.report import LeftOut, ReadingReport
from deploy_nas.adapters.images.sets import ImageSet, at_sizes, with_mirrored


@pytest.fixture
def given(rng: np.random.Generator) -> ImageSet:
    return ImageSet(
        images=rng.integers(0, 256, (3, 3, 8, 8), dtype=np.uint8),
        labels=np.array([0, 1, 1]),
        classes=("a", "b"),
        source="s",
        report=ReadingReport(source="s", used=3, left_out=(LeftOut("b/4.png", "is empty"),)),
        median_side=8.0,
        names=("a/1.png", "b/2.png", "b/3.png"),
    )


def test_a_part_keeps_names_and_report(given: ImageSet) -> None:
    part = given.take([2, 0])
    assert part.names == ("b/3.png", "a/1.png") and part.labels.tolist() == [1, 0] and len(part) == 2
    np.testing.assert_array_equal(part.images, given.images[[2, 0]])
    assert part.report is given.report and part.skipped == ("b/4.png",) and part.median_side == 8.0
    assert replace(given, names=()).take([1]).names == ()


def test_the_digest_is_of_pixels_labels_and_classes(given: ImageSet) -> None:
    assert given.digest == replace(given, names=(), source="t", report=ReadingReport()).digest
    changed = given.images.copy()
    changed[0, 0, 0, 0] ^= 1
    others = [{"images": changed}, {"labels": np.array([0, 0, 1])}, {"classes": ("a", "c")}]
    assert len({given.digest, *(replace(given, **other).digest for other in others)}) == 4


def test_mirror_images_come_after_the_images(given: ImageSet) -> None:
    both = with_mirrored(given)
    assert both.labels.tolist() == [0, 1, 1] * 2 and both.classes == ("a", "b")
    assert both.names == given.names * 2 and both.digest != given.digest
    np.testing.assert_array_equal(both.images[:3], given.images)
    np.testing.assert_array_equal(both.images[3:], given.images[..., ::-1])


def test_copies_that_memory_does_not_hold_are_mapped(
    given: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = given.take([2, 0]).digest, with_mirrored(given).digest
    monkeypatch.setattr(storage, "available_bytes", lambda: 0)
    monkeypatch.setattr(storage, "is_in_memory", lambda place: False)
    part, both = given.take([2, 0]), with_mirrored(given)
    assert isinstance(part.images, np.memmap) and isinstance(both.images, np.memmap)
    assert (part.digest, both.digest) == plain


def test_other_sizes_share_all_but_the_pixels(given: ImageSet) -> None:
    sized = at_sizes(given, (4, 8))
    assert len(sized) == 3 and sized.first.images.shape == (3, 3, 4, 4)
    assert sized.first.names == given.names and sized.by_size[8].images is given.images
    assert sized.digest != at_sizes(given, (4,)).digest
