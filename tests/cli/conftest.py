"""Files and values that tests of commands share."""

import json

import pytest

from deploy_nas.core.measured import Top1
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.recipe import Recipe
from deploy_nas.core.spaces import embedded_space, get_space
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.model import Provenance
from deploy_nas.records.profile import save_profile
from deploy_nas.records.supernet import JudgedSubnet, SupernetRecord, TrainedOn


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


@pytest.fixture
def supernet_record():
    """The record of a supernet of three classes, trained on 51 images and judged by 9."""
    space = get_space("ofa-mbv3-cifar10@3@20+24")
    judged = [("smallest, 20 px", space.smallest(), 6), ("largest, 24 px", space.largest(24), 8)]
    return SupernetRecord(
        space=space,
        labels=("blue", "green", "red"),
        weights_sha256="1" * 64,
        started_from=Provenance(source="embedded", sha256="2" * 64, trained=True),
        images=TrainedOn(
            training=51, validation=9, counts=(17, 17, 17), digest="d", validation_digest="v", own_split=True
        ),
        recipes=(Recipe(),),
        device="cpu",
        training_s=150.0,
        subnets=tuple(
            JudgedSubnet(name=name, architecture=subnet, million_macs=2.5, top1=Top1(right=right, images=9))
            for name, subnet, right in judged
        ),
    )
