"""Plans trained stage by stage, on a few made-up images."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.adapters.images import ImageSet
from deploy_nas.adapters.supernets import weights_hash
from deploy_nas.core.errors import ImagesError, MismatchError, OptionError, RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.recipe import Recipe
from deploy_nas.core.seals import sealed
from deploy_nas.core.spaces import get_space
from deploy_nas.deploy.weights import transferred_supernet
from deploy_nas.training.plans import EMBEDDED, Plan
from deploy_nas.workflows.stages import Stages, check_images

pytestmark = pytest.mark.slow

SPACE = get_space("ofa-mbv3-cifar10")
# 20 images, 10 a batch: 2 steps an epoch.
FIRST = Recipe(
    largest_epochs=1, sandwich_epochs=1, decay_epochs=1, frozen_steps=1, statistics_batches=2, batch_size=10
)
SECOND = replace(FIRST, largest_epochs=0.5, sandwich_epochs=0, decay_epochs=0, frozen_steps=0, seed=1)


@pytest.fixture(scope="module")
def images():
    return ImageSet(
        images=np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), dtype=np.uint8),
        labels=np.arange(20) % 10,
        classes=SPACE.labels,
        source="made up",
    )


def train(images, work, *stretches, teacher=None):
    said: list[str] = []
    stages = Stages(SPACE, images, work, log=said.append)
    net, started_from = transferred_supernet(SPACE, "random", seed=stretches[0].seed)
    done = stages.run(Plan(stretches=stretches, teacher=teacher, half=True), net, started_from)
    return done, [line for line in said if " step " in line]


@pytest.fixture(scope="module")
def both(images, tmp_path_factory):
    """A folder with both stretches trained, and what the training of them gave."""
    work = tmp_path_factory.mktemp("both")
    return work, train(images, work, FIRST, SECOND)


@pytest.fixture
def trained_folder(both, tmp_path):
    """A copy of it."""
    return shutil.copytree(both[0], tmp_path / "work")


def test_what_ships_was_trained_by_the_recipe_here():
    where = SPACE.default_weights.path.with_suffix(".training.json")
    record = json.loads(where.read_text())
    recipes = [
        Recipe.from_json(Fields(part["recipe"], "r")) for part in (record["teacher"], *record["stretches"])
    ]
    assert recipes == [EMBEDDED.teacher, *EMBEDDED.stretches]


def test_every_stretch_begins_with_the_weights_before_and_is_trained_once(images, both):
    work, (done, steps) = both
    first, second = done.stages
    assert (first.recipe, second.recipe) == (FIRST, SECOND) and not done.started_from.trained
    facts = json.loads((work / "stretch-2/stretch.json").read_text())
    assert facts["started_from_sha256"] == weights_hash(work / "stretch-1/weights.safetensors")
    assert done.weights == work / "stretch-2/weights.safetensors"
    assert len(steps) == 2 and steps[0].startswith("frozen step 5/5")
    assert done.curve == first.curve and first.curve[-1].epoch == 2.5
    assert train(images, work, FIRST, SECOND) == (done, [])


def test_a_stretch_is_added_without_training_the_others(images, trained_folder):
    shutil.rmtree(trained_folder / "stretch-2")
    (trained_folder / "stretch-1/checkpoint.pt").unlink()
    _, steps = train(images, trained_folder, FIRST, SECOND)
    assert len(steps) == 1


def test_a_teacher_is_trained_once_and_stretches_of_another_are_refused(images, tmp_path):
    teacher = replace(SECOND, label_smoothing=0.0)
    done, steps = train(images, tmp_path, FIRST, teacher=teacher)
    facts = json.loads((tmp_path / "stretch-1/stretch.json").read_text())
    assert facts["taught_by_sha256"] == weights_hash(tmp_path / "teacher/weights.safetensors")
    assert done.stages[0].recipe == teacher and len(steps) == 2
    assert train(images, tmp_path, FIRST, teacher=teacher) == (done, [])
    with pytest.raises(MismatchError, match=r"stretch-1/stretch\.json: was started with other weights"):
        train(images, tmp_path, FIRST)


def test_what_lies_in_the_folder_must_be_of_this_run(images, trained_folder):
    with pytest.raises(MismatchError, match="another recipe"):
        train(images, trained_folder, replace(FIRST, seed=9), SECOND)
    record = trained_folder / "stretch-2/stretch.json"
    facts = json.loads(record.read_text())
    record.write_text(json.dumps(facts | {"training_s": 12345}))
    with pytest.raises(RecordError, match=r"stretch\.json: was edited.*train the stage again") as caught:
        train(images, trained_folder, FIRST, SECOND)
    assert not isinstance(caught.value, MismatchError)  # which `train --force` removes as another run
    record.write_text(json.dumps(sealed(facts | {"started_from_sha256": "0" * 64})))
    with pytest.raises(MismatchError, match=r"stretch\.json: was started with other weights"):
        train(images, trained_folder, FIRST, SECOND)
    record.write_text("{")
    with pytest.raises(RecordError, match=r"stretch\.json"):
        train(images, trained_folder, FIRST, SECOND)


def test_a_stretch_is_not_gone_on_with_from_other_weights_or_images(images, trained_folder):
    longer = replace(FIRST, sandwich_epochs=1.5)
    (trained_folder / "stretch-2/stretch.json").unlink()  # as if it had been stopped
    with pytest.raises(MismatchError, match=r"stretch-2/checkpoint\.pt: began with other weights"):
        train(images, trained_folder, longer, SECOND)
    other = replace(images, labels=images.labels[::-1].copy())
    with pytest.raises(MismatchError, match=r"stretch-1/stretch\.json: was started with other weights"):
        train(other, trained_folder, longer, SECOND)


def test_images_that_cannot_be_trained_on_are_named(images):
    with pytest.raises(ImagesError, match="9 class folders, ofa-mbv3-cifar10 has 10 classes"):
        check_images(SPACE, replace(images, classes=images.classes[:9]))
    with pytest.raises(ImagesError, match="made up: are 32x30 pixels"):
        check_images(SPACE, replace(images, images=images.images[:, :, :30]))


def test_no_stretch_is_no_plan():
    with pytest.raises(OptionError, match="stretches"):
        Plan(stretches=())
