"""The JSON Schemas in docs/reference/formats accept what the code writes, and refuse what is wrong."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import referencing

from deploy_nas.adapters.graphs import build_model, weight_tensors
from deploy_nas.adapters.kits import BareGraph, make_check_kit, make_kit
from deploy_nas.adapters.mlp import read_mlp
from deploy_nas.core.conditions import Conditions
from deploy_nas.core.fingerprint import CPU_PROVIDER, Fingerprint
from deploy_nas.core.measured import Measured, Paced, Top1
from deploy_nas.core.predicted import Elsewhere, Predicted
from deploy_nas.core.reading import Reading
from deploy_nas.core.seals import sealed
from deploy_nas.core.settings import Settings
from deploy_nas.core.spaces import get_space
from deploy_nas.deploy.bundle import make_bundle
from deploy_nas.deploy.export import export_onnx
from deploy_nas.deploy.model_file import certify, read_model
from deploy_nas.deploy.quantize import int8_of
from deploy_nas.deploy.verify import certificate_of, compare, promise_of
from deploy_nas.device import machine
from deploy_nas.device.check import CHECK_FILE, check_models
from deploy_nas.device.journal import Journal, JournalHeader
from deploy_nas.device.kit import PLAN_FILE, close_result
from deploy_nas.device.measure import MeasureSettings
from deploy_nas.device.timing import Burst
from deploy_nas.profiling.plan import make_plan
from deploy_nas.records.accuracy import AccuracyData, AccuracyHeader, save_accuracy_data
from deploy_nas.records.build import BuildRecord, BuiltModel, Tuned, save_build
from deploy_nas.records.fleet_history import Event, History
from deploy_nas.records.model import Provenance
from deploy_nas.records.profile import save_profile
from deploy_nas.records.profile_history import Carried, Prior, Speed
from deploy_nas.records.profile_parts import Imported, Row
from deploy_nas.records.supernet import (
    JudgedSubnet,
    LossPoint,
    SupernetRecord,
    TrainedOn,
    save_supernet,
)
from deploy_nas.training.plans import EMBEDDED
from deploy_nas.workflows.pareto import front_file
from deploy_nas.workflows.question import SearchRequest
from deploy_nas.workflows.search import result_path, search_file

ROOT = Path(__file__).resolve().parents[1]
FORMATS = ROOT / "docs/reference/formats"
SCHEMAS = {
    path.name.removesuffix(".schema.json"): json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(FORMATS.glob("*.schema.json"))
}
SPACE = get_space("ofa-mbv3-cifar10")

Samples = dict[str, list[Any]]


def validator(name: str) -> jsonschema.Draft202012Validator:
    """Of one format; schemas name each other by their files."""
    files = [(f"{n}.schema.json", referencing.Resource.from_contents(s)) for n, s in SCHEMAS.items()]
    return jsonschema.Draft202012Validator(
        SCHEMAS[name], registry=referencing.Registry().with_resources(files)
    )


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def searched(folder: Path, made_profile: Any) -> Samples:
    profile = made_profile()
    save_profile(profile, folder / "a.profile.json")
    imported = replace(
        profile,
        imported=Imported(format="OFA latency tables", device="phone", files={"t.yaml": "0" * 64}),
        pairs=(),
        settings=None,
    )
    save_profile(imported, folder / "b.profile.json")
    history = replace(
        profile,
        rows=tuple(Row(key=row.key, latency_ms=row.latency_ms) for row in profile.rows),
        carried=Carried(
            networks=20,
            priors=(
                Prior(profile=profile.id, sha256=profile.sha256, fingerprint=profile.fingerprint, share=1.0),
            ),
        ),
        speeds=(Speed(created=profile.created, factor=1.02, sentinel_ms=0.2, ratios=(1.01, 1.03)),),
    )
    save_profile(history, folder / "c.profile.json")
    fast = {"population_size": 40, "max_time_budget": 2}
    budget_ms = 2 * float(profile.latency_ms(SPACE.encode([SPACE.smallest()]))[0])
    request = SearchRequest(budgets={"latency_ms": budget_ms, "model_mb": 20.0}, hyper=fast, margin="5")
    search_file(profile, folder / "best.json", request)
    front_file(profile, folder / "front.json", SearchRequest(budgets={}), evaluations=500)
    read = {
        p: json.loads(p.read_text(encoding="utf-8"))
        for p in [*folder.glob("*.json"), *ROOT.glob("profiles/*")]
    }
    return {
        "profile": [
            v for p, v in read.items() if p.name not in ("best.json", "front.json", "best.search.json")
        ],
        "architecture": [
            read[folder / "best.json"],
            {"space": SPACE.id, **SPACE.smallest()},
            {"space": SPACE.id, **SPACE.smallest(), "predicted": {"latency_ms": 0.2, "bound_ms": None}},
        ],
        "result": [read[result_path(folder / "best.json")], read[folder / "front.json"]],
    }


def here() -> Fingerprint:
    return machine.fingerprint(
        threads=1, provider=CPU_PROVIDER, provider_options={}, precision="fp32", pinned=True
    )


def exported(folder: Path) -> Samples:
    path = folder / "model.onnx"
    predicted = Predicted(
        latency_ms=0.2, budget_ms=1.0, provider=CPU_PROVIDER, threads=1, profile="p", picked="knee",
        others=(Elsewhere(device="phone", latency_ms=2.0),),
    )  # fmt: skip
    export_onnx({"space": SPACE.id, **SPACE.smallest(20)}, path, predicted=predicted)
    plain = read_model(path)
    noise = np.random.default_rng(0).standard_normal((20, 3, 20, 20), dtype=np.float32)
    int8 = int8_of(plain, noise, predicted=predicted)
    conditions = Conditions(cores=(1,), busy=0.99, spread_percent=2.5, quota_cores=1.5, speed=0.9)
    paced = Paced(every_ms=50.0, p50_ms=0.7, p90_ms=0.8, runs=100)
    times = {"latency_ms": 0.21, "p50_ms": 0.22, "p90_ms": 0.3, "p99_ms": 0.4, "runs": 100}
    measured = Measured(**times, conditions=conditions, paced=paced)
    verified = compare(plain, promise_of(plain), measured, here())
    top1 = Top1(
        right=45, images=50, reading=Reading(used=50, left_out=1, turned=2, classes=3, model_classes=10)
    )
    certified = certify(path, plain, certificate_of(plain, verified, top1))
    metadata = [model.metadata.to_json() for model in (plain, certified, int8)]
    layers = SPACE.layers(SPACE.smallest(20))
    bare = BareGraph(graph=build_model(layers, None), tensors=weight_tensors(layers))
    checked = make_check_kit({"m": plain.data, "g": bare}, MeasureSettings(rounds=1), core_us=40.0)
    with zipfile.ZipFile(io.BytesIO(checked)) as kit:
        plan = json.loads(kit.read(CHECK_FILE))
        result = sealed(check_models(kit).to_json())
    make_bundle([certified], folder / "bundle")
    manifest = json.loads((folder / "bundle/manifest.json").read_text(encoding="utf-8"))
    return {"model": metadata, "bundle": [manifest], "check-plan": [plan], "check-result": [result]}


def timed(folder: Path) -> Samples:
    plan, settings = make_plan(SPACE, [20], quick=True), Settings()
    with zipfile.ZipFile(io.BytesIO(make_kit(plan, settings))) as kit:
        kit_plan = json.loads(kit.read(PLAN_FILE))
    header = JournalHeader(
        plan=plan.id,
        fingerprint=here(),
        settings=settings,
        created="2026-01-01T00:00:00+00:00",
        arguments=plan.arguments,
        conditions=Conditions(cores=(1,), quota_cores=1.5),
    )
    with Journal(folder / "journal", header) as journal:
        journal.add("aa:0", 0, Burst(runs=12, points_ms=(0.1, 0.2), busy=0.99), 0.1)
    close_result(folder / "journal", folder / "result.jsonl")
    return {"journal": lines(folder / "result.jsonl"), "kit-plan": [kit_plan]}


def accuracies(folder: Path) -> Samples:
    header = AccuracyHeader(space=SPACE, weights="w", images="i", image_count=5000)
    encoded = SPACE.encode([SPACE.smallest(), SPACE.largest()])
    data = AccuracyData(header=header, encoded=encoded, top1_percent=np.array([85.0, 91.0]))
    save_accuracy_data(data, folder / "subnets.jsonl")
    shipped = resources.files("deploy_nas").joinpath("data")
    files = [f for f in shipped.iterdir() if f.name.endswith(".accuracy.onnx")]
    assert files
    return {
        "subnets": lines(folder / "subnets.jsonl"),
        "predictor": [read_mlp(f.read_bytes(), f.name)[1] for f in files],
    }


def trained(folder: Path) -> Samples:
    """A supernet before and after its predictor, and a build before and after its stages."""
    space, top1 = get_space("ofa-mbv3-cifar10@3@20+24"), Top1(right=7, images=9)
    record = SupernetRecord(
        space=space,
        labels=("a", "b", "c"),
        weights_sha256="1" * 64,
        started_from=Provenance(source="embedded", sha256="2" * 64, trained=True),
        images=TrainedOn(
            training=51, validation=9, counts=(17, 17, 17), digest="d", validation_digest="v", own_split=True
        ),
        recipes=EMBEDDED.stretches,
        device="cpu",
        training_s=12.0,
        curve=(LossPoint(epoch=0.5, phase="largest", loss=1.5, elapsed_s=3.0),),
        subnets=(JudgedSubnet(name="smallest", architecture=space.smallest(), million_macs=1.5, top1=top1),),
    )
    scratch = Provenance(source="random", sha256=None, trained=False, seed=0)
    save_supernet(record, folder)
    build = BuildRecord(
        space=space.id,
        budget_ms=8.0,
        profile="p",
        weights_sha256="1" * 64,
        predictor_sha256="3" * 64,
        seed=0,
    )
    save_build(build, folder / "build.json")
    model = BuiltModel(
        file="best.onnx",
        precision="fp32",
        predicted_ms=7.5,
        measured_ms=7.4,
        within_budget=True,
        validation=top1,
        test=top1,
    )
    done = replace(
        build,
        promised_percent=80.0,
        tuned=Tuned(before=top1, after=top1, kept=False),
        models=(model, replace(model, file="best.int8.onnx", precision="int8", predicted_ms=None, test=None)),
        stages_s={"train": 12.5},
    )
    return {
        "supernet": [
            json.loads((folder / "supernet.json").read_text(encoding="utf-8")),
            replace(record, predictor_sha256="3" * 64, started_from=scratch).to_json(),
        ],
        "build": [json.loads((folder / "build.json").read_text(encoding="utf-8")), done.to_json()],
    }


def watched(folder: Path) -> Samples:
    said = {"at": "2026-01-01T00:00:00+00:00", "device": "pi", "subject": "m"}
    whole = {"measured_ms": 1.5, "limit_ms": 2.0, "speed": 0.9, "sha256": "0" * 64}
    with History(folder / "history.jsonl") as history:
        history.append(
            [
                Event(**said, kind="verify", state="kept", profile="p", **whole),
                Event(**said, kind="profile", state="failed", fault="no route"),
            ]
        )
    return {"fleet-history": lines(folder / "history.jsonl")}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory, made_profile: Any) -> Samples:
    """What the code writes, by format."""
    folder = tmp_path_factory.mktemp("formats")
    return {
        **searched(folder, made_profile),
        **exported(folder),
        **timed(folder),
        **accuracies(folder),
        **trained(folder),
        **watched(folder),
    }


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_schemas_and_have_a_section(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    page = (FORMATS / "README.md").read_text(encoding="utf-8")
    assert f"({name}.schema.json)" in page


@pytest.mark.parametrize("name", [n for n in SCHEMAS if n != "common"])
def test_what_is_written_fits(samples: Samples, name: str) -> None:
    assert samples[name]
    for value in samples[name]:
        validator(name).validate(value)


@pytest.mark.parametrize("name", [n for n in SCHEMAS if n != "common"])
@pytest.mark.parametrize("wrong", [{}, [], "text", None])
def test_something_else_is_refused(name: str, wrong: object) -> None:
    assert not validator(name).is_valid(wrong)


@pytest.mark.parametrize(
    ("name", "number", "where", "wrong"),
    [
        ("architecture", 0, ["image_size"], "24"),
        ("architecture", 0, ["predicted", "latency_ms"], -1.0),
        ("profile", 0, ["version"], 3),
        ("profile", 0, ["rows", 0, "latency_ms"], 0.0),
        ("profile", 0, ["id"], "not a hash"),
        ("result", 0, ["kind"], "best"),
        ("result", 0, ["candidates", 0, "predicted"], {}),
        ("journal", 0, ["format"], "another"),
        ("journal", 1, ["t"], []),
        ("journal", 2, ["sha256"], "short"),
        ("subnets", 0, ["image_count"], 0),
        ("subnets", 1, ["top1"], 101.0),
        ("bundle", 0, ["files", "model.onnx", "sha256"], "0"),
        ("bundle", 0, ["models", 0, "certificate"], None),
        ("model", 0, ["preprocessing", "mean"], [0.5]),
        ("predictor", 0, ["unit"], "per mille"),
        ("kit-plan", 0, ["settings", "rounds"], 0),
        ("check-plan", 0, ["settings", "threads"], 0),
        ("check-result", 0, ["models", "m", "logits"], []),
        ("supernet", 0, ["labels"], ["a", "a", "b"]),
        ("supernet", 0, ["images", "training"], 0),
        ("supernet", 0, ["recipes", 0, "augmentation", "colour"], 1.0),
        ("supernet", 0, ["subnets", 0, "top1", "percent"], 101.0),
        ("build", 1, ["budget_ms"], 0.0),
        ("build", 1, ["models", 0, "precision"], "int4"),
        ("build", 1, ["tuned", "after"], None),
        ("fleet-history", 1, ["state"], "fine"),
        ("fleet-history", 1, ["measured_ms"], 0.0),
        ("fleet-history", 2, ["kind"], None),
    ],
)
def test_a_wrong_value_is_refused(
    samples: Samples, name: str, number: int, where: list[Any], wrong: object
) -> None:
    value = copy.deepcopy(samples[name][number])
    inner = value
    for key in where[:-1]:
        inner = inner[key]
    assert where[-1] in inner if isinstance(inner, dict) else True
    inner[where[-1]] = wrong
    assert not validator(name).is_valid(value)
