"""The metadata of an exported model: every value there and back, every wrong one by its name."""

import json
from dataclasses import replace

import pytest

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import ArchitectureError, MismatchError, RecordError, UnknownSpaceError
from deploy_nas.core.fields import Fields
from deploy_nas.core.measured import Measured, Top1
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.spaces import embedded_space
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.certificate import Agreement, Certificate, MeasuredOn
from deploy_nas.records.model import ModelMetadata, Preprocessing, Provenance, Quantization, parse_model

SPACE = embedded_space()
CONDITIONS = Conditions(cores=(1,), busy=0.99, spread_percent=2.0)
MEASURED = Measured(
    latency_ms=2.0, p50_ms=2.1, p90_ms=2.2, p99_ms=2.3, runs=160, sentinel_ms=0.2, conditions=CONDITIONS
)
PROVENANCE = Provenance(source="w.pth", sha256="ab" * 32, trained=True, recalibrated=2000)
PREPROCESSING = Preprocessing(image_size=24, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
AGREEMENT = Agreement(reference="ofa's own subnet", inputs=2, largest_difference=1e-6, allowed=1e-4)
QUANTIZATION = Quantization(
    activations="uint8, per tensor",
    weights="int8, symmetric, per output channel",
    weight_bits=8,
    chosen_for="avx512_vnni",
    calibration_images=500,
    ranges="mean over batches",
)
MEASURED_ON = MeasuredOn(
    cpu="a processor",
    threads=2,
    runtime_version="1.20.0",
    cores=4,
    machine="x86_64",
    os="Linux 6.1",
    provider="FastProvider",
    provider_options={"speed": "most"},
    precision="int8",
)
CERTIFICATE = Certificate(
    graph_sha256="cd" * 32,
    measured=MEASURED,
    measured_on=MEASURED_ON,
    weights_sha256="ab" * 32,
    profile="0123456789ab",
    budget_ms=2.5,
    predicted_ms=2.1,
    bound_ms=2.2,
    confidence=0.95,
    within_budget=True,
    agreement=AGREEMENT,
    top1=Top1(right=6, images=8),
)
MODEL = ModelMetadata(
    space=SPACE,
    architecture=SPACE.smallest(24),
    predicted=Predicted(latency_ms=2.1, provider="FastProvider", extra={"mine": [1]}),
    profile="0123456789ab",
    labels=SPACE.labels,
    preprocessing=PREPROCESSING,
    weights=PROVENANCE,
    precision="int8",
    opset=17,
    agreement=AGREEMENT,
    quantization=QUANTIZATION,
    certificate=CERTIFICATE,
)


def written(value):
    """As it comes back from a file."""
    return json.loads(json.dumps(value.to_json(), allow_nan=False))


VALUES = [
    MEASURED,
    replace(MEASURED, sentinel_ms=None, conditions=None),
    Top1(right=6, images=8),
    Top1(right=1, images=3),
    PROVENANCE,
    replace(PROVENANCE, licence="Apache-2.0"),
    Provenance(source="random", sha256=None, trained=False, seed=3),
    PREPROCESSING,
    QUANTIZATION,
    replace(QUANTIZATION, calibration_images=None, ranges=None),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_there_and_back(value):
    assert type(value).from_json(Fields(written(value), "f")) == value


@pytest.mark.parametrize("model", [MODEL, ModelMetadata(space=SPACE, architecture=SPACE.largest(32))])
def test_a_whole_model_there_and_back(model):
    assert parse_model(written(model), "m.onnx") == model


def test_random_weights_say_untrained():
    assert Provenance(source="random", sha256=None, trained=False, seed=3).to_json()["warning"] == "UNTRAINED"
    assert "warning" not in PROVENANCE.to_json()
    assert MODEL.trained and replace(MODEL, weights=None).trained
    assert not replace(MODEL, weights=Provenance(source="random", sha256=None, trained=False)).trained


def test_a_licence_is_named_where_one_is_stated():
    assert "model_license" not in MODEL.to_json() and "licence" not in PROVENANCE.to_json()
    licensed = replace(MODEL, weights=replace(PROVENANCE, source="pretrained", licence="MIT"))
    assert licensed.to_json()["model_license"] == "MIT"
    assert "Weights: pretrained (MIT)." in licensed.described
    assert MODEL.described.startswith("Image classifier: a subnet of ofa-mbv3-cifar10, int8. Input: float32 ")


def test_what_a_model_gives_on():
    record = MODEL.record
    assert record.same_network(ArchitectureRecord(space=SPACE, architecture=SPACE.smallest(24)))
    assert record.predicted == MODEL.predicted
    assert MODEL.image_size == 24 and MODEL.prepared_as("m") == PREPROCESSING
    with pytest.raises(RecordError, match="m: does not say how its images are preprocessed"):
        replace(MODEL, preprocessing=None).prepared_as("m")


# Key path to a value that cannot be there, and what is said of it.
WRONG = [
    (("predicted",), [1], "'predicted' must be an object"),
    (("predicted", "latency_ms"), "2", "'latency_ms' must be a finite number"),
    (("profile",), 3, "'profile' must be a string"),
    (("labels",), 5, "'labels' must be a list"),
    (("labels",), ["a", 3], r"labels\[1\]: 'value' must be a string"),
    (("preprocessing",), [1], "'preprocessing' must be an object"),
    (("preprocessing", "image_size"), 0, "'image_size' must be a whole number of at least 1"),
    (("preprocessing", "mean"), [0.5, 0.5], "preprocessing: must have three channels"),
    (("preprocessing", "std"), [1, 0, 1], "must be a positive number"),
    (("preprocessing", "layout"), "NHWC", "'layout' must be 'NCHW', is 'NHWC'"),
    (("preprocessing", "scale"), "0..255", "'scale' must be '0..1'"),
    (("preprocessing", "resize"), "nearest", "'resize' must be 'bilinear'"),
    (("opset",), "17", "'opset' must be a whole number"),
    (("precision",), 8, "'precision' must be a string"),
    (("weights",), "w.pth", "'weights' must be an object"),
    (("weights", "source"), None, "'source' must be a string"),
    (("weights", "trained"), "yes", "'trained' must be true or false"),
    (("weights", "sha256"), 3, "'sha256' must be a string"),
    (("weights", "recalibrated"), -1, "'recalibrated' must be a whole number of at least 0"),
    (("agreement",), [], "'agreement' must be an object"),
    (("agreement", "with"), 3, "'with' must be a string"),
    (("agreement", "inputs"), 0, "'inputs' must be a whole number of at least 1"),
    (("agreement", "allowed"), None, "'allowed' must be a finite number"),
    (("quantization",), ["8"], "'quantization' must be an object"),
    (("quantization", "weight_bits"), "8", "'weight_bits' must be a whole number"),
    (("quantization", "weight_bits"), 16, "'weight_bits' must be a whole number of at most 8"),
    (("quantization", "calibration_images"), 0, "'calibration_images' must be a whole number of at least 1"),
    (("certificate",), 3, "'certificate' must be an object"),
    (("certificate", "graph_sha256"), None, "'graph_sha256' must be a string"),
    (("certificate", "measured"), 1, "certificate: 'measured' must be an object"),
    (("certificate", "measured", "latency_ms"), -1.0, "'latency_ms' must be a positive number"),
    (("certificate", "measured", "runs"), 0, "'runs' must be a whole number of at least 1"),
    (("certificate", "measured_on"), None, "certificate: 'measured_on' must be an object"),
    (("certificate", "measured_on", "cpu"), 3, "measured_on: 'cpu' must be a string"),
    (("certificate", "measured_on", "threads"), 0, "'threads' must be a whole number of at least 1"),
    (("certificate", "measured_on", "onnxruntime"), None, "'onnxruntime' must be a string"),
    (("certificate", "measured_on", "provider_options"), {"a": 1}, "'a' must be a string"),
    (("certificate", "budget_ms"), 0, "'budget_ms' must be a positive number"),
    (("certificate", "within_budget"), "yes", "'within_budget' must be true or false"),
    (("certificate", "top1", "images"), 0, "'images' must be a whole number of at least 1"),
    (("certificate", "top1", "percent"), "75", "'percent' must be a finite number"),
]


@pytest.mark.parametrize(("path", "value", "what"), WRONG)
def test_a_wrong_value_is_named(path, value, what):
    held = written(MODEL)
    inner = held
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(RecordError, match=what) as caught:
        parse_model(held, "m.onnx")
    assert caught.value.subject.startswith("m.onnx")


def test_what_is_no_model_of_ours_or_of_no_space():
    for held in ({}, {"architecture": None}, {"architecture": [1]}):
        with pytest.raises(MismatchError, match="m: was not exported by deploy-nas"):
            parse_model(held, "m")
    whole = written(MODEL)
    with pytest.raises(UnknownSpaceError, match="m: architecture: no search space 'nope'"):
        parse_model({**whole, "architecture": {**whole["architecture"], "space": "nope"}}, "m")
    with pytest.raises(ArchitectureError, match="m: architecture: ks"):
        parse_model({**whole, "architecture": {**whole["architecture"], "ks": [3]}}, "m")


def test_images_prepared_for_another_size_are_refused():
    held = written(MODEL)
    held["preprocessing"]["image_size"] = 32
    with pytest.raises(MismatchError, match="prepares images of 32 px, its architecture takes 24"):
        parse_model(held, "m")


def test_what_the_version_before_wrote_is_read():
    """Keys that it did not write yet are missing, and those that said nothing are null."""
    old = {
        "architecture": {"space": SPACE.id, **SPACE.smallest(24)},
        "space": SPACE.id,
        "predicted": {"latency_ms": 2.1, "bound_ms": None, "confidence": None, "budget_ms": 2.5},
        "profile": None,
        "labels": [],
        "preprocessing": {"image_size": 24, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
        "weights": {"source": "random", "sha256": None, "trained": False, "seed": 0, "warning": "UNTRAINED"},
        "certificate": {
            "graph_sha256": "cd" * 32,
            "measured": {"latency_ms": 2.0, "p50_ms": 2.1, "p90_ms": 2.2, "p99_ms": 2.3, "runs": 160},
            "measured_on": {"cpu": "a processor", "threads": 2, "onnxruntime": "1.20.0"},
            "within_budget": True,
            "top1": None,
        },
        "note": "somebody's own key",
    }
    found = parse_model(old, "m")
    assert found.precision == "fp32" and found.opset is None and found.quantization is None
    assert found.predicted == Predicted(latency_ms=2.1, budget_ms=2.5) and found.labels == ()
    assert found.preprocessing == PREPROCESSING and not found.trained and found.weights.recalibrated == 0
    on = found.certificate.measured_on
    assert (on.provider, on.provider_options, on.precision) == ("CPUExecutionProvider", {}, "fp32")
    assert found.certificate.agreement is None and found.certificate.budget_ms is None


def test_a_file_without_weights_prediction_or_certificate_is_read():
    least = {"architecture": {"space": SPACE.id, **SPACE.smallest(24)}}
    assert parse_model(least, "m") == ModelMetadata(space=SPACE, architecture=SPACE.smallest(24))
    assert parse_model({**least, "weights": {}, "predicted": None}, "m").weights is None
