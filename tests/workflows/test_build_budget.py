"""What a build promises for one budget; tests of build run its stages."""

from types import SimpleNamespace

import pytest

from deploy_nas.core.measured import Top1
from deploy_nas.core.predicted import Predicted
from deploy_nas.records.build import Tuned
from deploy_nas.workflows.build_budget import BudgetStages


@pytest.mark.parametrize("kept", [True, False])
def test_what_fine_tuning_measured_replaces_the_prediction_if_its_weights_are_used(kept):
    tuned = Tuned(before=Top1(right=80, images=100), after=Top1(right=85, images=100), kept=kept)
    stages = SimpleNamespace(record=SimpleNamespace(tuned=tuned))
    said = Predicted(accuracy=81.0, accuracy_unit="percent", latency_ms=3.0)
    promised = BudgetStages._promise(stages, said)
    assert promised.latency_ms == 3.0
    assert promised.accuracy_percent == (85.0 if kept else 81.0)
    assert ("95% interval 76.7 to 90.7%" in (promised.accuracy_note or "")) == kept
