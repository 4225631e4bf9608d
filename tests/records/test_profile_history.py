"""A profile's past in its file: where it was carried over from, and the speeds since; edits are seen."""

from dataclasses import replace

import pytest

from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.records.profile_history import Carried, Prior, Speed

SPEED = Speed(created="2026-01-01T00:00:00+00:00", factor=1.05, sentinel_ms=0.2, ratios=(1.04, 1.06))


@pytest.fixture
def carried(made_profile):
    prior = Prior(profile="0" * 12, sha256="0" * 64, fingerprint=made_profile().fingerprint, share=1.0)
    return Carried(networks=20, priors=(prior,))


def test_there_and_back(carried):
    assert Carried.from_json(Fields(carried.to_json(), "f")) == carried
    assert Speed.from_json(Fields(SPEED.to_json(), "f")) == SPEED


def test_an_edited_speed_is_refused():
    for changed in ({"factor": 1.0}, {"digest": None}):
        with pytest.raises(MismatchError, match="edited"):
            Speed.from_json(Fields(SPEED.to_json() | changed, "f"))


@pytest.mark.parametrize("wrong", [{"factor": 0.0}, {"ratios": ()}, {"sentinel_ms": -1.0}])
def test_a_speed_that_cannot_be_is_named(wrong):
    with pytest.raises(RecordError, match=next(iter(wrong))):
        Speed.from_json(Fields(replace(SPEED, **wrong).to_json(), "f"))


def test_a_table_is_carried_over_from_something(carried):
    with pytest.raises(RecordError, match="from"):
        Carried.from_json(Fields(carried.to_json() | {"from": []}, "f"))
