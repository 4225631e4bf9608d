"""An evaluation's figures follow from its confusion matrix, and what contradicts itself is refused."""

from dataclasses import replace

import pytest

from deploy_nas.core.errors import RecordError
from deploy_nas.core.measured import Top1
from deploy_nas.records.evaluation import Confused, Evaluation, Mistake

MISTAKE = Mistake(name="a/1.jpg", label=0, guess=1, confidence=0.97, thumbnail=b"")
FOUND = Evaluation(
    labels=("a", "b", "c", "none"),
    confusion=((8, 2, 0, 0), (0, 1, 3, 0), (2, 0, 4, 0), (0, 0, 0, 0)),
    mistakes=(MISTAKE,),
    images=20,
)


def test_top1_of_all_and_of_each_class():
    assert FOUND.top1 == Top1(right=13, images=20)
    of = [Top1(right=8, images=10), Top1(right=1, images=4), Top1(right=4, images=6), None]
    assert list(FOUND.by_class) == of


def test_every_class_with_images_counts_the_same_in_the_balanced_mean():
    assert FOUND.balanced_percent == pytest.approx((80 + 25 + 100 * 4 / 6) / 3)
    assert FOUND.top1.percent == 65.0


def test_the_most_confused_pairs_come_first_and_right_answers_do_not_count():
    first = Confused(label=1, guess=2, images=3)
    assert FOUND.most_confused(1) == (first,)
    pairs = [(c.label, c.guess, c.images) for c in FOUND.most_confused(20)]
    assert pairs == [(1, 2, 3), (0, 1, 2), (2, 0, 2)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"confusion": ((1,),)}, "must be 4 by 4"),
        ({"confusion": ((1,), (1,), (1,), (1,))}, "must be 4 by 4"),
        ({"images": 19}, "does not add up to 19 images"),
        ({"confusion": ((-1, 1, 0, 0), *FOUND.confusion[1:])}, "negative"),
        ({"confusion": ((0,) * 4,) * 4, "images": 0}, "does not add up to 0"),
        ({"mistakes": (replace(MISTAKE, guess=4),)}, "outside 0 to 3"),
        ({"mistakes": (replace(MISTAKE, guess=0),)}, "wrong answer"),
        ({"mistakes": (replace(MISTAKE, confidence=97.0),)}, "probability"),
    ],
)
def test_what_contradicts_itself_is_refused(changes, said):
    with pytest.raises(RecordError, match=f"evaluation: .*{said}"):
        replace(FOUND, **changes)
