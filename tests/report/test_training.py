"""The training of a supernet in words, and its curve with the phases in order."""

from dataclasses import replace

import pytest

from deploy_nas.core.measured import Top1
from deploy_nas.core.own_classes import with_classes
from deploy_nas.core.recipe import Recipe
from deploy_nas.core.spaces import get_space
from deploy_nas.records.model import Provenance
from deploy_nas.records.supernet import JudgedSubnet, LossPoint, SupernetRecord, TrainedOn
from deploy_nas.report.training import Phase, duration, training_shown

SPACE = with_classes(get_space("efficientnet-lite0"), 2, (96, 128))
RECORD = SupernetRecord(
    space=SPACE,
    labels=("cat", "dog"),
    weights_sha256="0",
    started_from=Provenance(source="pretrained", sha256="1", trained=True),
    images=TrainedOn(
        training=1280,
        validation=226,
        counts=(1000, 280),
        digest="2",
        validation_digest="3",
        own_split=True,
    ),
    recipes=(Recipe(largest_epochs=2.0, sandwich_epochs=8.0, frozen_steps=10, batch_size=128),),
    device="cpu",
    training_s=3900.0,
    curve=(
        LossPoint(epoch=1.0, phase="largest", loss=0.69, elapsed_s=5.0),
        LossPoint(epoch=2.0, phase="largest", loss=0.5, elapsed_s=10.0),
        LossPoint(epoch=6.0, phase="sandwich", loss=0.3, elapsed_s=1800.0),
        LossPoint(epoch=10.0, phase="sandwich", loss=0.25, elapsed_s=3600.0),
        LossPoint(epoch=11.0, phase="new", loss=0.2, elapsed_s=3900.0),
    ),
    subnets=(
        JudgedSubnet(
            name="smallest, 96 px",
            architecture=SPACE.smallest(),
            million_macs=20.0,
            top1=Top1(right=200, images=226),
        ),
    ),
)


def test_the_images_and_the_training_in_words():
    shown = training_shown(RECORD)
    assert shown.lead == "Trained on 1,280 images of 2 classes, judged on 226 held out of them."
    facts = dict(shown.facts)
    assert facts["images per class"] == "280 to 1,000" and facts["started from"] == "pretrained weights"
    assert facts["trained for"] == "11.0 epochs, 1 h 05 min, on cpu" and facts["supernet"] == SPACE.id
    assert shown.subnets == RECORD.subnets


def test_other_validation_images_equal_classes_and_random_weights_are_said():
    images = replace(RECORD.images, own_split=False, counts=(640, 640))
    fresh = Provenance(source="random", sha256=None, trained=False, seed=1)
    shown = training_shown(replace(RECORD, images=images, started_from=fresh))
    assert shown.lead.endswith("judged on 226 others.")
    assert dict(shown.facts)["images per class"] == "640"
    assert dict(shown.facts)["started from"] == "random weights"


def test_a_phase_begins_where_the_one_before_it_ends():
    shown = training_shown(RECORD)
    assert shown.phases == [
        Phase(what="the largest subnet alone", begins=0.0),
        Phase(what="all subnets together", begins=2.0),
        Phase(what="new", begins=10.0),
    ]
    assert shown.curve[2] == (6.0, 0.3, "30 min")
    assert shown.curve_text == "Loss of the largest subnet: from 0.69 to 0.2 in 11 epochs"


def test_a_training_of_which_nothing_was_noted():
    shown = training_shown(replace(RECORD, curve=(), subnets=(), recipes=()))
    assert shown.curve == [] and shown.phases == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3550, "59 min"),
        (3599, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds, said):
    assert duration(seconds) == said
