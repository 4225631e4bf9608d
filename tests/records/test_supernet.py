"""The record of a trained supernet, and spaces named by its folder."""

import json
from pathlib import Path

import pytest

from deploy_nas.core.errors import MismatchError, RecordError, UnknownSpaceError, VersionError
from deploy_nas.core.measured import Top1
from deploy_nas.core.recipe import Recipe
from deploy_nas.core.seals import sealed
from deploy_nas.core.spaces import get_space
from deploy_nas.records.model import Provenance
from deploy_nas.records.supernet import (
    JudgedSubnet,
    LossPoint,
    SupernetRecord,
    TrainedOn,
    is_supernet,
    load_supernet_record,
    of_same_id,
    save_supernet,
    space_named,
)

SPACE = get_space("ofa-mbv3-cifar10@3@20+24")


def record(**changes: object) -> SupernetRecord:
    values: dict[str, object] = {
        "space": SPACE,
        "labels": ("a", "b", "ü"),
        "weights_sha256": "1" * 64,
        "started_from": Provenance(source="embedded", sha256="2" * 64, trained=True),
        "images": TrainedOn(
            training=10,
            validation=4,
            counts=(4, 3, 3),
            digest="d",
            validation_digest="v",
            own_split=True,
        ),
        "recipes": (Recipe(seed=4),),
        "device": "cpu",
        "training_s": 12.0,
        "curve": (LossPoint(epoch=0.5, phase="largest", loss=1.5, elapsed_s=3.0),),
        "subnets": (
            JudgedSubnet(
                name="smallest",
                architecture=SPACE.smallest(),
                million_macs=1.5,
                top1=Top1(right=3, images=4),
            ),
        ),
    }
    return SupernetRecord(**{**values, **changes})  # type: ignore[arg-type]


def test_a_record_comes_back(tmp_path: Path) -> None:
    save_supernet(record(), tmp_path)
    assert load_supernet_record(tmp_path).to_json() == record().to_json() and is_supernet(tmp_path)


def test_its_folder_names_a_space_with_labels_weights_and_predictor(tmp_path: Path) -> None:
    save_supernet(record(predictor_sha256="3" * 64), tmp_path)
    space = space_named(str(tmp_path))
    assert (space.id, space.labels) == (SPACE.id, ("a", "b", "ü"))
    assert space.default_weights.path == tmp_path / "supernet.safetensors"
    assert space.default_predictor.path == tmp_path / "accuracy.onnx"
    save_supernet(record(), tmp_path)
    assert space_named(str(tmp_path)).default_predictor is None
    assert space_named(SPACE.id).id == SPACE.id


def test_a_supernet_of_another_space_is_refused(tmp_path: Path) -> None:
    save_supernet(record(), tmp_path)
    assert of_same_id(None, SPACE) is SPACE
    assert of_same_id(str(tmp_path), SPACE).labels == ("a", "b", "ü")
    with pytest.raises(MismatchError, match=r"is of space ofa-mbv3-cifar10@3@20\+24, not ofa-mbv3-cifar10"):
        of_same_id(str(tmp_path), get_space("ofa-mbv3-cifar10"))


def test_other_folders_and_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"holds no supernet\.json"):
        space_named(str(tmp_path))
    with pytest.raises(UnknownSpaceError, match="there is no such folder"):
        space_named(str(tmp_path / "gone"))
    with pytest.raises(UnknownSpaceError, match="no search space 'nothing'"):
        space_named("nothing")


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"labels": ["a", "b"]}, RecordError, "'labels' must be 3 different names"),
        ({"labels": ["a", "b", "b"]}, RecordError, "'labels' must be 3 different names"),
        ({"space": "gone@3"}, UnknownSpaceError, "no search space"),
        ({"version": 99}, VersionError, "version 99"),
        ({"format": "other"}, RecordError, "not a file of the format"),
        ({"training_s": "long"}, RecordError, "'training_s'"),
        ({"curve": [{"epoch": 1}]}, RecordError, r"curve\[0\]"),
    ],
)
def test_a_damaged_record_is_named(
    tmp_path: Path, changes: dict[str, object], error: type[Exception], said: str
) -> None:
    save_supernet(record(), tmp_path)
    path = tmp_path / "supernet.json"
    value = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(sealed(value)))
    with pytest.raises(error, match=said):
        load_supernet_record(tmp_path)
