"""Accuracy predictors of one's own."""

import numpy as np
import pytest

from deploy_nas.accuracy.own import OwnPredictor
from deploy_nas.core.errors import OptionError
from deploy_nas.core.spaces import embedded_space

SPACE = embedded_space()


def test_a_fraction_is_shown_in_percent(rng):
    rows = SPACE.sample_encoded(rng, 3)
    own = OwnPredictor(space=SPACE, given=lambda a: 0.5, unit="fraction")
    assert own.percent_encoded(rows).tolist() == [50.0] * 3
    assert own.spread_encoded(rows).tolist() == [0.0] * 3


@pytest.mark.parametrize(
    ("given", "said"),
    [(lambda a: float("nan"), "finite number"), ("text", "is str"), (object(), "is object")],
)
def test_what_is_no_predictor_says_so(rng, given, said):
    with pytest.raises(OptionError, match=said):
        OwnPredictor(space=SPACE, given=given).predict_encoded(SPACE.sample_encoded(rng, 2))


def test_too_few_values_are_an_error(rng):
    class Rows:
        def predict_encoded(self, encoded):
            return np.zeros(1)

    with pytest.raises(OptionError, match="each of 2"):
        OwnPredictor(space=SPACE, given=Rows()).predict_encoded(SPACE.sample_encoded(rng, 2))
