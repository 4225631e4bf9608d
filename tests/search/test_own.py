"""Figures of one's own in the seed's own search class."""

import numpy as np
import pytest

from deploy_nas.core.errors import OptionError
from deploy_nas.core.spaces import embedded_space
from deploy_nas.search.efficiency import AnalyticalEfficiencyPredictor
from deploy_nas.search.own import check_names


def test_a_figure_of_rows_and_one_of_architectures_agree(rng):
    space = embedded_space()

    class Rows:
        def predict_encoded(self, encoded):
            return np.array(space.image_sizes, float)[encoded[:, 0]]

    figures = {"mine": Rows(), "yours": lambda a: a["image_size"]}
    predictor = AnalyticalEfficiencyPredictor(space, figures=figures)
    found = predictor.get_efficiency_batch(space.sample_encoded(rng, 5))
    assert found["mine"].tolist() == found["yours"].tolist()
    assert predictor.names[-2:] == ("mine", "yours") and "mine" in repr(predictor)


@pytest.mark.parametrize("name", ["latency_ms", "millionMACs", "accuracy", "two words"])
def test_names_that_cannot_be(name):
    with pytest.raises(OptionError):
        check_names([name])
