"""A plan's arguments in files, today's and those of before INT8."""

import json
from dataclasses import replace

import pytest

from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.plan_arguments import PlanArguments

ARGUMENTS = PlanArguments(
    space="s", image_sizes=(24, 32), fit_per_size=9, validation_per_size=5, block_units=3, seed=0
)


def test_they_round_trip():
    value = json.loads(json.dumps(ARGUMENTS.to_json()))
    assert PlanArguments.from_json(Fields(value, "kit")) == ARGUMENTS


def test_a_part_of_a_plan_round_trips_too():
    some = replace(ARGUMENTS, only=("fit:0", "fit:7"))
    assert PlanArguments.from_json(Fields(json.loads(json.dumps(some.to_json())), "kit")) == some


def test_kits_of_before_had_no_precision():
    value = dict(ARGUMENTS.to_json())
    del value["precision"], value["activations"]
    assert PlanArguments.from_json(Fields(value, "kit")) == ARGUMENTS


@pytest.mark.parametrize(("key", "wrong"), [("fit_per_size", "9"), ("image_sizes", 24), ("block_units", 0)])
def test_a_wrong_one_is_named(key, wrong):
    with pytest.raises(RecordError, match=key):
        PlanArguments.from_json(Fields({**ARGUMENTS.to_json(), key: wrong}, "kit"))
