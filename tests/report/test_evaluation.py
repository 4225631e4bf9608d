"""An evaluation in words and tables: the worst first, a matrix for few classes, pairs for many."""

import base64

import numpy as np
import pytest

from deploy_nas.records.evaluation import Evaluation, Mistake
from deploy_nas.report.evaluation import Cell, Pair, evaluation_shown

MISTAKE = Mistake(name="dog/7.jpg", label=1, guess=0, confidence=0.974, thumbnail=b"a picture")
FEW = Evaluation(
    labels=("cat", "dog", "absent", "ant"),
    confusion=((8, 2, 0, 0), (3, 1, 0, 0), (0, 0, 0, 0), (0, 5, 0, 1)),
    mistakes=(MISTAKE,),
    images=20,
)


def many(classes):
    """Every class right on its number of images, plus one; class 3 is taken for class 5 twice."""
    confusion = np.diag(np.arange(1, classes + 1))
    confusion[3, 5] = 2
    return Evaluation(
        labels=tuple(f"class {n:02d}" for n in range(classes)),
        confusion=tuple(map(tuple, confusion.tolist())),
        mistakes=(),
        images=int(confusion.sum()),
    )


def test_the_worst_classes_come_first_and_those_without_images_last():
    shown = evaluation_shown(FEW, {"cat": 100, "dog": 7})
    assert [(c.name, c.trained_on) for c in shown.worst] == [
        ("ant", None),
        ("dog", 7),
        ("cat", 100),
        ("absent", None),
    ]
    assert shown.counts_known and not evaluation_shown(FEW).counts_known
    assert shown.lead == "50.0% of 20 images are right; the mean of the classes is 40.6%."


def test_few_classes_have_a_matrix():
    shown = evaluation_shown(FEW)
    assert shown.matrix[0][0] == Cell(images=8, percent=80.0, right=True)
    assert shown.matrix[1][0] == Cell(images=3, percent=75.0, right=False)
    assert [cell.percent for cell in shown.matrix[2]] == [0.0] * 4 and shown.pairs == ()
    shades = [cell.shade_percent for row in shown.matrix for cell in row]
    assert min(shades) == 0.0 and 0 < max(shades) <= 60.0


@pytest.mark.parametrize("classes", [21, 45])
def test_many_classes_have_the_most_confused_pairs(classes):
    shown = evaluation_shown(many(classes))
    assert shown.matrix == ()
    assert shown.pairs == [Pair(name="class 03", guess="class 05", images=2, of=6)]
    assert len(shown.worst) == min(30, classes) and len(shown.others) == max(0, classes - 30)
    assert shown.worst[0].name == "class 03"


def test_a_mistake_has_words_and_a_picture():
    (shown,) = evaluation_shown(FEW).mistakes
    assert (shown.name, shown.label, shown.guess) == ("dog/7.jpg", "dog", "cat")
    assert shown.percent == pytest.approx(97.4)
    kind, _, data = shown.picture.partition(",")
    assert kind == "data:image/jpeg;base64" and base64.b64decode(data) == b"a picture"
