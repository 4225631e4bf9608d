from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from deploy_nas.core.errors import (
    ArchitectureError,
    BudgetError,
    MismatchError,
    OptionError,
    UnknownSpaceError,
)
from deploy_nas.core.space import Space
from deploy_nas.search.efficiency import AnalyticalEfficiencyPredictor, MeasuredEfficiencyPredictor


def test_figures_are_sums_and_maxima_over_layers(real: Space) -> None:
    predictor = AnalyticalEfficiencyPredictor(real)
    rng = np.random.default_rng(0)
    for architecture in [real.smallest(), real.largest(), *(real.sample(rng) for _ in range(10))]:
        layers = [layer for _, layer in real.layers(architecture)]
        efficiency = predictor.get_efficiency(architecture)
        megabytes = efficiency.pop("model_mb")
        assert 4e-6 * 0.95 < megabytes / sum(layer.params for layer in layers) < 4e-6 * 1.05
        assert efficiency == {
            "millionMACs": pytest.approx(sum(layer.macs for layer in layers) / 1e6, rel=1e-12),
            "params_million": pytest.approx(sum(layer.params for layer in layers) / 1e6, rel=1e-12),
            "KBPeakMemory": max(layer.peak_elements for layer in layers) / 1024,
        }
        assert all(type(value) is float for value in efficiency.values())


def test_peak_memory_of_the_element_size_asked_for(real: Space) -> None:
    int8, fp32 = (AnalyticalEfficiencyPredictor(real.id, bytes_per_element=n) for n in (1, 4))
    a, b = int8.get_efficiency(real.largest()), fp32.get_efficiency(real.largest())
    assert b["KBPeakMemory"] == 4 * a["KBPeakMemory"]
    assert b["millionMACs"] == a["millionMACs"]


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "4"])
def test_invalid_element_size(real: Space, bad: object) -> None:
    with pytest.raises(OptionError, match="bytes_per_element"):
        AnalyticalEfficiencyPredictor(real, bytes_per_element=bad)  # type: ignore[arg-type]


def test_batch_agrees_with_single(real: Space, fakes: SimpleNamespace) -> None:
    predictor = MeasuredEfficiencyPredictor(fakes.Profile(real, real.image_sizes))
    encoded = real.sample_encoded(np.random.default_rng(1), 20)
    batch = predictor.get_efficiency_batch(encoded)
    names = ("latency_ms", "millionMACs", "params_million", "KBPeakMemory", "model_mb")
    assert tuple(batch) == predictor.names == names
    assert all(v.dtype == np.float64 and v.shape == (20,) for v in batch.values())
    for number, architecture in enumerate(real.decode(encoded)):
        assert predictor.get_efficiency(architecture) == {n: float(v[number]) for n, v in batch.items()}


def test_measured_adds_the_profiles_latency(real: Space, fakes: SimpleNamespace) -> None:
    profile = fakes.Profile(real, (24, 32))
    predictor = MeasuredEfficiencyPredictor(profile)
    architecture = real.largest(32)
    expected = float(profile.latency_ms(real.encode([architecture]))[0])
    assert predictor.get_efficiency(architecture)["latency_ms"] == expected
    assert predictor.image_sizes == (24, 32)
    with pytest.raises(MismatchError):
        predictor.get_efficiency(real.largest(28))


def test_satisfy_constraint(real: Space) -> None:
    predictor = AnalyticalEfficiencyPredictor(real)
    efficiency = {"millionMACs": 10.0, "KBPeakMemory": 100.0}
    assert predictor.satisfy_constraint(efficiency, {"millionMACs": 10.0, "KBPeakMemory": 101})
    assert not predictor.satisfy_constraint(efficiency, {"millionMACs": 11, "KBPeakMemory": 99.9})
    assert predictor.satisfy_constraint(efficiency, {})
    assert predictor.satisfy_constraint(efficiency, 10) and not predictor.satisfy_constraint(efficiency, 9)
    with pytest.raises(OptionError, match="latency_ms"):
        predictor.satisfy_constraint(efficiency, {"latency_ms": 3})
    with pytest.raises(BudgetError, match="millionMACs"):
        predictor.satisfy_constraint(efficiency, {"millionMACs": math.nan})


def test_faults(real: Space) -> None:
    with pytest.raises(UnknownSpaceError):
        AnalyticalEfficiencyPredictor("no-such-space")
    predictor = AnalyticalEfficiencyPredictor(real)
    with pytest.raises(ArchitectureError, match="columns"):
        predictor.get_efficiency_batch(np.zeros((3, 5), dtype=np.int64))
    with pytest.raises(ArchitectureError, match="ks"):
        predictor.get_efficiency({**real.smallest(), "ks": [3]})
