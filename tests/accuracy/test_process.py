"""The Gaussian process on functions whose truth is known."""

import numpy as np
import pytest

from deploy_nas.accuracy import process
from deploy_nas.accuracy.process import fit_process

pytestmark = pytest.mark.slow

COLUMNS = [f"e[{gene}]={choice}" for gene in range(6) for choice in range(3)] + ["log_macs"]


def draw(count: int, seed: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two of six genes matter, and only together."""
    rng = np.random.default_rng(seed)
    genes = rng.integers(0, 3, (count, 6))
    features = np.concatenate([np.eye(3)[genes[:, g]] for g in range(6)], axis=1)
    features = np.c_[features, genes.mean(axis=1) / 2]
    percent = 80.0 + 2.0 * features[:, -1] + np.where((genes[:, 0] == 2) & (genes[:, 1] == 0), -3.0, 0.0)
    return features, percent + rng.normal(0.0, noise, count)


def test_it_finds_what_matters_and_how_noisy_it_is() -> None:
    fitted = fit_process(*draw(150, 0, noise=0.2), COLUMNS, np.random.default_rng(0))
    features, percent = draw(300, 1)
    mean, deviation = fitted.predict(features)
    assert np.abs(mean - percent).mean() < 0.2
    assert 0.1 < fitted.noise_points < 0.3
    weights = fitted.smooth[: 6 * 3 : 3]
    assert weights[:2].min() > weights[2:].max()
    assert (deviation > 0).all() and np.mean(np.abs(mean - percent) < 2 * deviation) > 0.85


def test_what_it_knows_it_is_sure_of() -> None:
    features, percent = draw(100, 0)
    fitted = fit_process(features, percent, COLUMNS, np.random.default_rng(0))
    mean, deviation = fitted.predict(features)
    np.testing.assert_allclose(mean, percent, atol=0.2)
    away = np.zeros((1, len(COLUMNS)))  # no choice at all: like nothing it has seen
    assert fitted.predict(away)[1][0] > 3 * deviation.max()
    assert fitted.predict(away[:0])[0].shape == (0,)


def test_large_sets_are_cut_and_large_questions_are_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    features, percent = draw(120, 0)
    monkeypatch.setattr(process, "MOST_SUBNETS", 50)
    monkeypatch.setattr(process, "_MOST_FOR_WEIGHTS", 40)
    fitted = fit_process(features, percent, COLUMNS, np.random.default_rng(0))
    assert len(fitted.features) == 50
    whole = fitted.predict(features)[0]
    monkeypatch.setattr(process, "_CHUNK", 7)
    np.testing.assert_allclose(fitted.predict(features)[0], whole)
