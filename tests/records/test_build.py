"""The record of a build."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy_nas.core.errors import MismatchError, RecordError, VersionError
from deploy_nas.core.measured import Top1
from deploy_nas.core.seals import sealed
from deploy_nas.records.build import BuildRecord, BuiltModel, Tuned, load_build, save_build

RECORD = BuildRecord(
    space="ofa-mbv3-cifar10@6",
    budget_ms=0.5,
    profile="abc",
    weights_sha256="1" * 64,
    predictor_sha256="2" * 64,
    seed=0,
    promised_percent=81.5,
    tuned=Tuned(before=Top1(right=8, images=10), after=Top1(right=9, images=10), kept=True),
    models=(
        BuiltModel(
            file="best.onnx",
            precision="fp32",
            predicted_ms=0.4,
            measured_ms=0.41,
            within_budget=True,
            validation=Top1(right=9, images=10),
            test=Top1(right=7, images=10),
        ),
    ),
    no_int8="it is slower",
    stages_s={"train": 12.5},
)


def test_a_record_comes_back(tmp_path: Path) -> None:
    save_build(RECORD, tmp_path / "b.json")
    assert load_build(tmp_path / "b.json") == RECORD


def test_only_what_is_asked_makes_it_the_same_question() -> None:
    asked = replace(RECORD, promised_percent=None, models=(), tuned=None, stages_s={}, no_int8="")
    assert RECORD.going_on(asked) == RECORD
    for changes in ({"budget_ms": 0.6}, {"profile": "d"}, {"weights_sha256": "3"}, {"seed": 1}):
        assert RECORD.going_on(replace(asked, **changes)) == replace(asked, **changes)


def test_a_stage_counts_if_it_and_those_before_were_asked_for_alike() -> None:
    asked = replace(RECORD, promised_percent=None, models=(), tuned=None, stages_s={}, no_int8="")
    longer = RECORD.going_on(replace(asked, finetune_epochs=9.0))
    assert longer.promised_percent == 81.5 and longer.tuned is None and not longer.models
    tested = RECORD.going_on(replace(asked, test="t"))
    assert tested.tuned == RECORD.tuned and not tested.models


def test_a_damaged_or_newer_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    save_build(RECORD, path)
    value = json.loads(path.read_text())
    path.write_text(json.dumps(value | {"budget_ms": 9.0}))
    with pytest.raises(MismatchError, match=r"b\.json: was edited or damaged.*remove it to build again"):
        load_build(path)
    path.write_text(json.dumps(sealed(value | {"budget_ms": -1})))
    with pytest.raises(RecordError, match=r"b\.json: 'budget_ms'"):
        load_build(path)
    path.write_text(json.dumps(value | {"version": 99}))
    with pytest.raises(VersionError):
        load_build(path)
