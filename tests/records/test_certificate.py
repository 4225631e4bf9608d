"""Certificates as values: there and back, and in words."""

import json
from dataclasses import replace

import pytest

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.measured import Measured, Top1
from deploy_nas.records.certificate import Agreement, Certificate, MeasuredOn

CONDITIONS = Conditions(cores=(1,), busy=0.99, spread_percent=2.0)
MEASURED = Measured(
    latency_ms=2.0, p50_ms=2.1, p90_ms=2.2, p99_ms=2.3, runs=160, sentinel_ms=0.2, conditions=CONDITIONS
)
AGREEMENT = Agreement(reference="ofa's own subnet", inputs=2, largest_difference=1e-6, allowed=1e-4)
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

VALUES = [
    AGREEMENT,
    MEASURED_ON,
    MeasuredOn(cpu="a processor", threads=1, runtime_version="1.0"),
    CERTIFICATE,
    Certificate(graph_sha256="cd" * 32, measured=MEASURED, measured_on=MEASURED_ON),
    replace(CERTIFICATE, within_budget=False, top1=None),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_there_and_back(value):
    assert (
        type(value).from_json(Fields(json.loads(json.dumps(value.to_json(), allow_nan=False)), "f")) == value
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("graph_sha256", 3),
        ("budget_ms", -1.0),
        ("within_budget", "yes"),
        ("measured", None),
        ("measured_on", {}),
    ],
)
def test_a_wrong_value_is_named(key, value):
    with pytest.raises(RecordError, match=key if key != "measured_on" else "measured_on: has no 'cpu'"):
        Certificate.from_json(Fields(CERTIFICATE.to_json() | {key: value}, "f"))


def test_a_device_in_words():
    assert str(MEASURED_ON) == "a processor, 2 thread(s), FastProvider, onnxruntime 1.20.0"
    plain = MeasuredOn(cpu="a processor", threads=1, runtime_version="1.0")
    assert str(plain) == "a processor, 1 thread(s), onnxruntime 1.0"
    assert "provider_options" not in plain.to_json() and "cores" not in plain.to_json()
