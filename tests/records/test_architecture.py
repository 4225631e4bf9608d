"""Architecture files: round trip, and every fault names the file and the key."""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy_nas.core.errors import (
    ArchitectureError,
    DeployNASError,
    MismatchError,
    OutputError,
    RecordError,
    UnknownSpaceError,
)
from deploy_nas.core.fields import Fields
from deploy_nas.core.notices import Notice
from deploy_nas.core.predicted import Elsewhere, Predicted
from deploy_nas.core.seals import sealed
from deploy_nas.core.spaces import get_space, space_ids
from deploy_nas.records.architecture import (
    ArchitectureRecord,
    load_architecture,
    parse_architecture,
    save_architecture,
)


@pytest.mark.parametrize("space_id", space_ids())
def test_round_trip(tmp_path: Path, rng: np.random.Generator, space_id: str) -> None:
    space = get_space(space_id)
    for predicted in (Predicted(), Predicted(latency_ms=1.25, accuracy=0.9)):
        record = ArchitectureRecord(space=space, architecture=space.sample(rng), predicted=predicted)
        path = tmp_path / f"{bool(predicted)}.json"
        save_architecture(record, path)
        assert load_architecture(path) == record
        assert ("predicted" in json.loads(path.read_text())) == bool(predicted)


def test_a_file_as_design_has_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    lists = {"ks": [3] * 20, "e": [6] * 20, "d": [4] * 5}
    path.write_text(json.dumps({"space": "ofa-mbv3-w1.2", "image_size": 192, **lists}))
    record = load_architecture(path)
    assert record.space.id == "ofa-mbv3-w1.2"
    assert record.architecture == {"image_size": 192, **lists}
    assert record.predicted == Predicted()


def write(tmp_path: Path, **changes: Any) -> Path:
    value = {"space": "ofa-mbv3-w1.0", **get_space("ofa-mbv3-w1.0").largest(), **changes}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({k: v for k, v in value.items() if v != "absent"}))
    return path


@pytest.mark.parametrize(
    ("changes", "kind", "what"),
    [
        ({"space": "absent"}, RecordError, "is not an architecture file: 'space' is missing"),
        ({"space": 3}, RecordError, "'space' must be a string, is 3"),
        ({"space": "elsewhere"}, UnknownSpaceError, "no search space 'elsewhere'; known are "),
        ({"ks": [3] * 19}, ArchitectureError, "ks: must be a list of 20 values, is 19 values"),
        ({"ks": "absent"}, ArchitectureError, "ks: must be a list of 20 values, is missing"),
        ({"e": [3.5] + [3] * 19}, ArchitectureError, "e[0]: must be one of [3, 4, 6], is 3.5"),
        ({"d": [2, 2, "2", 2, 2]}, ArchitectureError, "d[2]: must be one of [2, 3, 4], is '2'"),
        ({"d": [2, 2, True, 2, 2]}, ArchitectureError, "d[2]: must be one of [2, 3, 4], is True"),
        ({"image_size": 225}, ArchitectureError, "image_size: must be one of"),
        ({"image_size": "absent"}, ArchitectureError, "image_size: must be one of"),
        ({"depth": [2]}, ArchitectureError, "depth: is not a key of ofa-mbv3-w1.0"),
        ({"predicted": 3}, RecordError, "'predicted' must be an object, is 3"),
        ({"ks": [math.nan] * 20}, RecordError, "NaN is not a finite number"),
    ],
)
def test_faults_name_file_and_key(
    tmp_path: Path, changes: dict[str, Any], kind: type[DeployNASError], what: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(kind) as caught:
        load_architecture(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert what in str(caught.value)


def test_saving_keeps_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path)
    record = load_architecture(path)
    with pytest.raises(OutputError, match="exists already"):
        save_architecture(record, path)
    save_architecture(record, path, force=True)
    assert load_architecture(path) == record


@pytest.mark.parametrize(
    ("predicted", "what"),
    [
        ({"latency_ms": "0.2"}, "'latency_ms' must be a finite number"),
        ({"budget_ms": -1}, "'budget_ms' must be a positive number"),
        ({"bound_ms": "x"}, "'bound_ms' must be a finite number"),
        ({"threads": 0}, "'threads' must be a whole number of at least 1"),
        ({"threads": 10**30}, "'threads' must be a whole number of at most 4096"),
        ({"seed": -1}, "'seed' must be a whole number"),
        ({"accuracy": [1]}, "'accuracy' must be a finite number"),
        ({"picked": 3}, "'picked' must be a string"),
        ({"others": [{"device": "a", "latency_ms": True}]}, "'latency_ms' must be a finite number"),
        ({"others": [{"latency_ms": 1.0}]}, "others[0]: has no 'device'"),
        ({"others": {}}, "'others' must be a list"),
        ({"millionMACs": None}, "'millionMACs' must be a finite number"),
        ({"accuracy_unit": "points"}, "'accuracy_unit' must be percent or fraction"),
        ({"provider": 3}, "'provider' must be a string"),
        ({"provider_options": {"a": 1}}, "'a' must be a string"),
    ],
)
def test_predictions_of_wrong_types_are_named(tmp_path: Path, predicted: dict[str, Any], what: str) -> None:
    with pytest.raises(RecordError, match=re.escape(what)):
        load_architecture(write(tmp_path, predicted=predicted))


def test_what_may_be_unknown_may_be_null(tmp_path: Path) -> None:
    unknown = {"bound_ms": None, "confidence": None, "budget_ms": None, "mine": [1]}
    path = write(tmp_path, predicted=unknown)
    path.write_text(json.dumps(sealed(json.loads(path.read_text()))))
    found = load_architecture(path).predicted
    assert found == Predicted(extra={"mine": [1]})


# As the version before wrote it: no provider; and keys that this version does not know.
OLD = """{
 "space": "ofa-mbv3-cifar10",
 "ks": KS,
 "e": E,
 "d": [2, 2, 2, 2, 2],
 "image_size": 24,
 "predicted": {
  "latency_ms": 0.312, "millionMACs": 5.25, "params_million": 0.55, "KBPeakMemory": 61.0, "model_mb": 2.24,
  "accuracy": 81.25, "accuracy_unit": "percent", "bound_ms": null, "confidence": null,
  "profile": "0123456789ab", "threads": 2, "precision": "fp32", "seed": 0, "budget_ms": 0.35,
  "others": [{"device": "slow", "profile": "ba9876543210", "latency_ms": 0.6, "bound_ms": 0.65,
   "budget_ms": null}],
  "tuned_by": "hand", "notes": {"a": [1, 2]}
 }
}"""


def test_a_file_of_before_is_read_and_what_is_not_known_is_kept(tmp_path: Path) -> None:
    space = get_space("ofa-mbv3-cifar10")
    path = tmp_path / "old.json"
    small = space.smallest(24)
    path.write_text(OLD.replace("KS", json.dumps(small["ks"])).replace("E,", json.dumps(small["e"]) + ","))
    with pytest.warns(Notice, match=r"old\.json: .*its predictions and budgets are not used"):
        assert load_architecture(path) == ArchitectureRecord(space=space, architecture=small)
    record = parse_architecture(Fields(json.loads(path.read_text()), "old"))
    said = record.predicted
    assert record.architecture == small and (said.latency_ms, said.threads, said.seed) == (0.312, 2, 0)
    assert said.provider is None and said.provider_options == {} and said.bound_ms is None
    assert said.figures["model_mb"] == 2.24
    assert said.others == (Elsewhere(device="slow", profile="ba9876543210", latency_ms=0.6, bound_ms=0.65),)
    assert said.extra == {"tuned_by": "hand", "notes": {"a": [1, 2]}}
    save_architecture(record, tmp_path / "new.json")
    assert json.loads((tmp_path / "new.json").read_text()) == sealed(json.loads(path.read_text()))


def test_an_edited_number_or_gene_is_refused_and_what_to_do_is_said(tmp_path: Path) -> None:
    space = get_space("ofa-mbv3-cifar10")
    said = Predicted(latency_ms=0.3, bound_ms=0.32, budget_ms=0.35, accuracy=81.0, threads=1)
    path = tmp_path / "a.json"
    record = ArchitectureRecord(space=space, architecture=space.smallest(24), predicted=said)
    save_architecture(record, path)
    assert load_architecture(path) == record
    value = json.loads(path.read_text())
    edits = [{**value, "predicted": {**value["predicted"], key: 9}} for key in value["predicted"]]
    for edited in [*edits, {**value, "image_size": 20}, {**value, "digest": "0" * 64}]:
        path.write_text(json.dumps(edited))
        with pytest.raises(MismatchError, match=r"a\.json: was edited or damaged.*take 'digest' and"):
            load_architecture(path)


def test_an_architecture_written_by_hand_needs_no_digest(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not load_architecture(write(tmp_path)).predicted


def test_a_latency_without_a_bound_says_so(tmp_path: Path) -> None:
    space = get_space("ofa-mbv3-cifar10")
    said = Predicted(latency_ms=1.0, provider="FastProvider", provider_options={"speed": "most"})
    record = ArchitectureRecord(space=space, architecture=space.smallest(24), predicted=said)
    save_architecture(record, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["predicted"] == {
        "latency_ms": 1.0,
        "bound_ms": None,
        "confidence": None,
        "provider": "FastProvider",
        "provider_options": {"speed": "most"},
    }


def test_one_network_whatever_is_promised_of_it() -> None:
    space = get_space("ofa-mbv3-cifar10")
    one = ArchitectureRecord(space=space, architecture=space.smallest(24))
    assert one.same_network(replace(one, predicted=Predicted(latency_ms=1.0))) and one.image_size == 24
    assert not one.same_network(replace(one, architecture=space.smallest(28)))
