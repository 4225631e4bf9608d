"""Fingerprints: equality, differences, files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.fingerprint import (
    EVERYTHING,
    IDENTITY,
    Difference,
    Fingerprint,
    is_cpu,
    is_provider,
    on_runtime,
    processor_waits,
    runtime_name,
)

HERE = Fingerprint(
    cpu="EPYC",
    cores=2,
    machine="x86_64",
    os="Linux 6",
    runtime_version="1.32.0",
    threads=2,
    pinned=True,
    cpu_features=("avx2", "avx512f"),
    build="b",
    graphs="g",
)


def test_round_trip_and_the_key_of_the_version() -> None:
    value = HERE.to_json()
    assert value["onnxruntime"] == "1.32.0" and "runtime" not in value
    assert Fingerprint.from_json(Fields(value, "f")) == HERE
    other = replace(HERE, runtime="tflite", runtime_version="2.0")
    assert other.to_json()["runtime_version"] == "2.0"
    assert Fingerprint.from_json(Fields(other.to_json(), "f")) == other


def test_fields_that_an_older_file_lacks_are_unknown() -> None:
    value = {key: v for key, v in HERE.to_json().items() if key not in ("cpu_features", "build", "graphs")}
    old = Fingerprint.from_json(Fields(value, "f"))
    assert (old.cpu_features, old.build, old.graphs) == (None, None, None)
    assert old.to_json() == value


@pytest.mark.parametrize("key", ["cpu", "cores", "onnxruntime", "provider_options", "precision"])
def test_missing_keys_are_named(key: str) -> None:
    value = {k: v for k, v in HERE.to_json().items() if k != key}
    with pytest.raises(RecordError, match=f"^f: has no '{key}'$"):
        Fingerprint.from_json(Fields(value, "f"))


def test_differences_and_their_wording() -> None:
    there = replace(HERE, runtime_version="1.33.0", cpu_features=("neon",), governor="performance")
    assert HERE.differences(HERE) == ()
    found = HERE.differences(there, where="there")
    assert [d.name for d in found] == ["cpu_features", "runtime_version"]
    assert str(found[0]) == "cpu_features: profiled ['avx2', 'avx512f'], there ['neon']"
    assert str(found[1]) == "onnxruntime: profiled '1.32.0', there '1.33.0'"
    assert found[1].against() == "onnxruntime: '1.32.0' against '1.33.0'"
    assert "governor" in [d.name for d in HERE.differences(there, EVERYTHING)]
    assert str(Difference(name="imported", sentence="imported from a table")) == "imported from a table"
    assert set(IDENTITY) < set(EVERYTHING)


def test_two_runtimes_differ_by_name_and_version_at_once() -> None:
    there = replace(HERE, runtime="openvino", runtime_version="2026.4.1", provider="openvino:CPU")
    assert [str(d) for d in HERE.differences(there)] == [
        "runtime: profiled 'onnxruntime 1.32.0', here 'openvino 2026.4.1'",
        "provider: profiled 'CPUExecutionProvider', here 'openvino:CPU'",
    ]
    later = replace(there, runtime_version="2026.5.0")
    assert [str(d) for d in there.differences(later)] == ["openvino: profiled '2026.4.1', here '2026.5.0'"]


@pytest.mark.parametrize(
    ("provider", "runtime", "cpu", "waits"),
    [
        ("CPUExecutionProvider", "onnxruntime", True, False),
        ("CUDAExecutionProvider", "onnxruntime", False, True),
        ("openvino:CPU", "openvino", True, False),
        ("openvino:GPU.1", "openvino", False, True),
    ],
)
def test_a_provider_says_which_runtime_it_belongs_to(
    provider: str, runtime: str, cpu: bool, waits: bool
) -> None:
    assert runtime_name(provider) == runtime and on_runtime(runtime, provider.rpartition(":")[2]) == provider
    assert is_cpu(provider) is cpu and processor_waits(provider) is waits


@pytest.mark.parametrize(
    ("full", "given", "same"),
    [
        ("CPUExecutionProvider", "cpu", True),
        ("CPUExecutionProvider", "CPUExecutionProvider", True),
        ("CUDAExecutionProvider", "cpu", False),
        ("openvino:CPU", "openvino:cpu", True),
        ("openvino:CPU", "cpu", False),
        ("wasm", "cpu", True),
        ("webgpu", "webgpu", True),
        ("webgpu", "cpu", False),
    ],
)
def test_a_provider_by_its_short_name(full: str, given: str, same: bool) -> None:
    assert is_provider(full, given) is same


def test_in_words() -> None:
    assert str(HERE) == "EPYC, 2 threads, CPUExecutionProvider, onnxruntime 1.32.0"
    assert "1 thread," in str(replace(HERE, threads=1))
    assert HERE.of_precision("int8") == replace(HERE, precision="int8")
