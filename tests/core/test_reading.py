"""The counts of a reading go into files and come back, and files of before have fewer of them."""

import json

import pytest

from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.reading import Reading

FULL = Reading(
    used=90,
    left_out=1,
    not_pictures=2,
    turned=3,
    transparent=4,
    sixteen_bit=5,
    animated=6,
    enlarged=7,
    numeric_order=True,
    classes=3,
    model_classes=10,
    by_position=True,
)


@pytest.mark.parametrize("reading", [FULL, Reading(used=5)])
def test_what_is_written_is_read_again(reading):
    text = json.dumps(reading.to_json())
    assert Reading.from_json(Fields(json.loads(text), "f")) == reading


def test_only_what_happened_is_written():
    assert Reading(used=5, turned=2).to_json() == {"used": 5, "left_out": 0, "turned": 2}


def test_a_part_of_the_models_classes_is_named():
    assert FULL.part_of_classes == " of 3 of 10 classes"
    assert Reading(used=5, classes=10, model_classes=10).part_of_classes == ""
    assert Reading(used=5, classes=10).part_of_classes == ""


@pytest.mark.parametrize("change", [{"turned": -1}, {"turned": "two"}, {"numeric_order": 1}, {"used": None}])
def test_values_that_cannot_be_are_named(change):
    with pytest.raises(RecordError, match=f"f: '{next(iter(change))}' must be"):
        Reading.from_json(Fields({**FULL.to_json(), **change}, "f"))
