"""Training on one's own images, for real: a tiny supernet on a few drawn pictures."""

import json
from pathlib import Path

import pytest

from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.core.errors import (
    ImagesError,
    MismatchError,
    OptionError,
    OutputError,
    UnknownSpaceError,
    WeightsError,
)
from deploy_nas.deploy.weights import load_supernet, transferred_supernet
from deploy_nas.records.supernet import load_supernet_record, space_named
from deploy_nas.training.plans import augmentation_for, fine_tuning
from deploy_nas.workflows.train import epochs_within, predictor_settings, train

pytestmark = pytest.mark.slow


def test_the_folder_holds_a_supernet_that_knows_the_classes(trained):
    record = load_supernet_record(trained)
    assert record.space.id == "ofa-mbv3-cifar10@3@20+24"
    assert record.labels == ("blue", "green", "red")
    assert record.images.counts == (17, 17, 17) and record.images.validation == 9
    assert record.started_from.source == "embedded"
    largest = record.subnets[-1]
    assert largest.name == "largest, 24 px" and largest.top1.percent > 60
    assert {point.phase for point in record.curve} == {"largest", "sandwich", "frozen"}


def test_every_part_of_it_is_found_by_the_folder(trained):
    space = space_named(str(trained))
    _, provenance = load_supernet(space)
    assert provenance.trained and provenance.sha256 == load_supernet_record(trained).weights_sha256
    assert load_accuracy_predictor(space, "embedded").about.weights == provenance.sha256
    assert load_accuracy_predictor(space, trained).about.image_count == 18  # mirrored


def test_what_must_not_be_mirrored_is_not_for_the_predictor_either(request_for, tmp_path):
    for flip in (True, False):
        settings = predictor_settings(request_for(tmp_path, tmp_path / "out", flip=flip, subnets=40))
        assert settings.mirrored is flip and settings.subnets + sum(settings.best) == 40


def test_the_same_request_again_trains_nothing_and_another_is_refused(trained, coloured, request_for):
    before = (trained / "supernet.safetensors").stat().st_mtime_ns
    said = []
    train(request_for(coloured, trained, subnets=30), said.append)
    assert "this supernet is trained already" in said
    assert (trained / "supernet.safetensors").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="holds a supernet of another training"):
        train(request_for(coloured, trained, epochs=2))


def test_a_stopped_training_goes_on_and_the_seed_settles_its_weights(
    trained, coloured, tmp_path, request_for
):
    def stop(what, done, total, left_s):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(request_for(coloured, tmp_path / "s"), progress=stop)
    said = []
    train(request_for(coloured, tmp_path / "s"), said.append)
    assert any(line.startswith("resumed at step 7") for line in said)
    ends = [load_supernet_record(folder).weights_sha256 for folder in (trained, tmp_path / "s")]
    assert ends[0] == ends[1]
    train(request_for(coloured, tmp_path / "s", seed=1, force=True))
    assert load_supernet_record(tmp_path / "s").weights_sha256 != ends[0]


def test_weights_of_a_supernet_begin_another_with_other_classes(trained):
    from deploy_nas.core.spaces import get_space

    _, provenance = transferred_supernet(get_space("ofa-mbv3-cifar10@4@20+24"), str(trained), seed=0)
    assert provenance.sha256 == load_supernet_record(trained).weights_sha256
    with pytest.raises(WeightsError, match=r"are of ofa-mbv3-cifar10@3@20\+24, not of ofa-mbv3-w1\.0"):
        transferred_supernet(get_space("ofa-mbv3-w1.0@3"), str(trained), seed=0)


def test_the_body_is_the_donors_and_the_classifier_is_new():
    import torch

    from deploy_nas.core.spaces import get_space

    donor, _ = load_supernet(get_space("ofa-mbv3-cifar10"))
    net, _ = transferred_supernet(get_space("ofa-mbv3-cifar10@7"), None, seed=0)
    given, own = donor.state_dict(), net.state_dict()
    other = [name for name in own if own[name].shape != given[name].shape]
    assert other == ["classifier.linear.weight", "classifier.linear.bias"]
    assert all(torch.equal(own[name], given[name]) for name in own if name not in other)


def test_weights_of_one_kind_do_not_fit_another(coloured, tmp_path, request_for):
    from deploy_nas.core.spaces import get_space

    weights = get_space("ofa-mbv3-cifar10").default_weights.path
    with pytest.raises(WeightsError, match="does not fit ofa-mbv3-w1"):
        train(
            request_for(
                coloured, tmp_path / "s", space="ofa-mbv3-w1.0", image_sizes=None, weights=str(weights)
            )
        )


def test_a_supernet_that_was_changed_is_refused(trained, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(trained, copy, ignore=shutil.ignore_patterns("work"))
    (copy / "supernet.safetensors").write_bytes((copy / "supernet.safetensors").read_bytes() + b" ")
    with pytest.raises(WeightsError, match="is not the file that ofa-mbv3-cifar10@3"):
        load_supernet(space_named(str(copy)))
    (copy / "accuracy.onnx").write_bytes((copy / "accuracy.onnx").read_bytes() + b" ")
    with pytest.raises(MismatchError, match="is not the predictor that was made with it"):
        load_accuracy_predictor(space_named(str(copy)), "embedded")
    (copy / "supernet.safetensors").unlink()
    with pytest.raises(WeightsError, match="that belong to this supernet are missing"):
        load_supernet(space_named(str(copy)))


def test_minutes_choose_the_epochs_once(coloured, tmp_path, request_for):
    said = []
    asked = request_for(coloured, tmp_path / "s", epochs=None, minutes=0.05)
    train(asked, said.append)
    assert any("epochs fit into 0.05 minutes" in line for line in said)
    (kept,) = (tmp_path / "s/work").glob("epochs-*.json")
    epochs = json.loads(kept.read_text())["epochs"]
    said.clear()
    train(asked, said.append)
    assert "this supernet is trained already" in said
    recipe = load_supernet_record(tmp_path / "s").recipes[0]
    assert recipe.largest_epochs + recipe.sandwich_epochs == pytest.approx(epochs)


def test_epochs_within_a_time():
    one = fine_tuning(images=100, epochs=1, batch_size=10, augmentation=augmentation_for(24))
    steps_s = {"largest": 1.0, "sandwich": 2.0, "frozen": 2.0}
    fixed_s = 10 * 2.0 + 40 * 0.5
    assert epochs_within(fixed_s + 3 * 10 * (0.2 * 1 + 0.8 * 2), one, 100, steps_s) == pytest.approx(
        3, abs=0.01
    )
    assert epochs_within(1.0, one, 100, steps_s) == 0.1


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"epochs": 0}, OptionError, "epochs: must be above 0"),
        ({"minutes": 3.0}, OptionError, "minutes: or a number of epochs, not both"),
        ({"epochs": None, "minutes": -1.0}, OptionError, "minutes: must be above 0"),
        ({"batch_size": 1}, OptionError, "batch_size"),
        ({"subnets": 5}, OptionError, "subnets: must be 0 or at least 30"),
        ({"space": "gone"}, UnknownSpaceError, "no search space"),
        ({"image_sizes": (20, 21)}, UnknownSpaceError, "has no image size 21"),
        ({"weights": "gone.pth"}, WeightsError, "does not exist"),
        ({"validation": Path("gone")}, ImagesError, "does not exist"),
    ],
)
def test_what_cannot_be_done_is_said_before_training(coloured, tmp_path, changes, error, said, request_for):
    with pytest.raises(error, match=said):
        train(request_for(coloured, tmp_path / "s", **changes))
    assert not (tmp_path / "s/work/stretch-1/checkpoint.pt").exists()


def test_a_folder_that_cannot_be_made_is_named(coloured, tmp_path, request_for):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        train(request_for(coloured, tmp_path / "file/s"))
