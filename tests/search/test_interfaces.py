"""Which forms a predictor has is decided by its methods."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from deploy_nas.core.encoder import ArchEncoder
from deploy_nas.core.space import Space
from deploy_nas.search import AnalyticalEfficiencyPredictor, interfaces
from deploy_nas.search.interfaces import AccuracyPredictorLike, ArchEncoderLike, EfficiencyPredictor


def test_our_predictors_have_the_batch_forms(toy: Space, fakes: SimpleNamespace) -> None:
    efficiency: EfficiencyPredictor[dict[str, float]] = AnalyticalEfficiencyPredictor(toy)
    accuracy: AccuracyPredictorLike = fakes.Accuracy(toy)
    encoder: ArchEncoderLike = ArchEncoder(toy)
    assert interfaces.prices_batches(efficiency) and interfaces.checks_constraints(efficiency)
    assert interfaces.predicts_batches(accuracy)
    assert interfaces.is_space_encoder(encoder) and interfaces.mutates_widths(encoder)
    assert interfaces.owns_generator(encoder)


def test_a_notebooks_predictors_have_none() -> None:
    plain = SimpleNamespace(get_efficiency=len, predict_acc=list, rng="not a generator")
    for has in (
        interfaces.prices_batches,
        interfaces.checks_constraints,
        interfaces.predicts_batches,
        interfaces.is_space_encoder,
        interfaces.mutates_widths,
        interfaces.owns_generator,
    ):
        assert not has(plain)
    assert interfaces.owns_generator(SimpleNamespace(rng=np.random.default_rng()))
