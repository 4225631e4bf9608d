"""Files and values that tests of commands share."""

import json

import pytest

from deploy_nas.core.predicted import Predicted
from deploy_nas.core.spaces import embedded_space
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.profile import save_profile


@pytest.fixture
def profile(tmp_path, made_profile):
    """A profile file."""
    path = tmp_path / "p.profile.json"
    save_profile(made_profile(), path)
    return path


@pytest.fixture
def architecture(tmp_path):
    """An architecture file without predictions."""
    space = embedded_space()
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"space": space.id, **space.smallest(24)}))
    return path


@pytest.fixture
def record():
    """An architecture with all that a search predicts of it."""
    space = embedded_space()
    predicted = Predicted(
        figures={"millionMACs": 12.5, "KBPeakMemory": 80.0},
        latency_ms=0.25,
        bound_ms=0.3,
        budget_ms=0.35,
        confidence=0.95,
        accuracy=91.5,
        accuracy_unit="percent",
        accuracy_note="reads high",
        profile="p",
        seed=0,
    )
    return ArchitectureRecord(space=space, architecture=space.smallest(24), predicted=predicted)


@pytest.fixture
def stand_in(monkeypatch):
    """``stand_in(module, name, answer)``: the function answers that; returns the calls made of it."""

    def replaced(module, name, answer=None):
        calls = []

        def function(*arguments, **named):
            calls.append((arguments, named))
            if isinstance(answer, BaseException):
                raise answer
            return answer

        monkeypatch.setattr(module, name, function)
        return calls

    return replaced
