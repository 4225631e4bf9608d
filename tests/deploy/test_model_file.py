"""Exported files read once: what belongs together is checked, whatever is changed is named."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from deploy_nas.adapters.graphs import inspect_model, with_metadata
from deploy_nas.core.errors import (
    ArchitectureError,
    MismatchError,
    OutputError,
    RecordError,
    UnknownSpaceError,
)
from deploy_nas.core.measured import Measured
from deploy_nas.core.notices import Notice
from deploy_nas.core.spaces import embedded_space
from deploy_nas.deploy.model_file import certify, parse_model_file, read_model, write_model
from deploy_nas.records.certificate import Certificate, MeasuredOn
from deploy_nas.records.onnx_file import sealed_onnx

SPACE = embedded_space()
MEASURED = Measured(latency_ms=1.0, p50_ms=1.1, p90_ms=1.2, p99_ms=1.3, runs=9)
# As the version before wrote it: no options of a provider, and the statistic is there under its old keys.
OLD_CERTIFICATE = {
    "weights_sha256": "ab" * 32,
    "profile": "0123456789ab",
    "budget_ms": 2.5,
    "predicted_ms": 2.1,
    "bound_ms": None,
    "confidence": None,
    "measured": {"latency_ms": 2.0, "p50_ms": 2.1, "p90_ms": 2.2, "p99_ms": 2.3, "runs": 160},
    "measured_on": {
        "cpu": "a processor",
        "cores": 4,
        "machine": "x86_64",
        "os": "Linux 6.1",
        "threads": 2,
        "provider": "CPUExecutionProvider",
        "onnxruntime": "1.20.0",
        "precision": "fp32",
    },
    "within_budget": True,
    "agreement": {"with": "ofa", "inputs": 2, "largest_difference": 1e-6, "allowed": 1e-4},
    "top1": {"percent": 75.0, "images": 8, "interval_percent": [40.9, 92.9]},
}


def certificate(model):
    on = MeasuredOn(cpu="here", threads=1, runtime_version="1.0")
    return Certificate(graph_sha256=model.graph_sha256, measured=MEASURED, measured_on=on)


def resized(data, **dims):
    """The model with other dimensions of its input: a number, or ``None`` for any."""
    changed = onnx.load_from_string(data)
    for place, value in dims.items():
        dim = changed.graph.input[0].type.tensor_type.shape.dim["nchw".index(place)]
        dim.Clear()
        if value is None:
            dim.dim_param = place
        else:
            dim.dim_value = value
    return sealed_onnx(changed.SerializeToString())


def edited(data, change, *, digest=True):
    """The model after ``change(model)``; with the digest it had, or without any."""
    model = onnx.load_from_string(data)
    change(model)
    if not digest:
        kept = [p for p in model.metadata_props if p.key != "digest"]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
    return model.SerializeToString()


def test_what_it_is_and_says(model_data, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(model_data(predicted={"latency_ms": 2.0}, labels=list(SPACE.labels)))
    model = read_model(path)
    assert model.subject == str(path) and model.data == path.read_bytes()
    assert model.metadata.architecture == SPACE.smallest(24) and model.metadata.predicted.latency_ms == 2.0
    assert (
        model.metadata.labels == SPACE.labels
        and model.graph_sha256 == inspect_model(model.data, "x").graph_sha256
    )
    sizes = [parse_model_file(model_data(n), "m") for n in (1, 4, None)]
    assert [(m.batch, m.single) for m in sizes] == [(1, True), (4, False), (None, True)]


def test_a_file_of_before_is_read(model_data):
    data = model_data(
        predicted={"latency_ms": 2.1, "bound_ms": None, "confidence": None, "budget_ms": 2.5, "mine": [1]},
        weights={"source": "w.pth", "sha256": "ab" * 32, "trained": True, "recalibrated": 0},
        precision="fp32",
        opset=17,
    )
    held = {**OLD_CERTIFICATE, "graph_sha256": inspect_model(data, "x").graph_sha256}
    found = parse_model_file(with_metadata(data, {"certificate": held}), "m").metadata
    assert found.predicted.provider is None and found.predicted.extra == {"mine": [1]}
    then = found.certificate
    assert then.measured.latency_ms == 2.0 and then.measured_on.provider_options == {}
    assert (then.top1.right, then.top1.images) == (6, 8)
    assert json.loads(json.dumps(then.to_json()["measured_on"])) == OLD_CERTIFICATE["measured_on"]


def test_an_input_that_is_not_the_architectures_is_refused(model_data):
    data = model_data()
    with pytest.raises(MismatchError, match=r"takes float32 \[1, 3, None, None\], its architecture float32"):
        parse_model_file(resized(data, h=None, w=None), "m")
    half = onnx.load_from_string(data)
    half.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    with pytest.raises(MismatchError, match=r"takes float16 \[1, 3, 24, 24\]"):
        parse_model_file(sealed_onnx(half.SerializeToString()), "m")
    del half.graph.input[0].type.tensor_type.shape.dim[3]
    with pytest.raises(RecordError, match="does not take images"):
        parse_model_file(sealed_onnx(half.SerializeToString()), "m")
    assert parse_model_file(resized(data, n=4), "m").batch == 4


def test_a_certificate_of_another_graph_is_refused(model_data):
    held = {**OLD_CERTIFICATE, "graph_sha256": "0" * 64}
    with pytest.raises(MismatchError, match=r"m\.onnx: was changed after it was verified: its certificate"):
        parse_model_file(model_data(certificate=held), "m.onnx")


@pytest.mark.parametrize("held", [{}, {"measured": 1}, {"measured": {"latency_ms": 1.0}}, 3])
def test_a_certificate_without_its_keys_is_named(model_data, held):
    data = model_data()
    whole = (
        {"graph_sha256": inspect_model(data, "x").graph_sha256, **held} if isinstance(held, dict) else held
    )
    with pytest.raises(RecordError, match="certificate"):
        parse_model_file(with_metadata(data, {"certificate": whole}), "m.onnx")


@pytest.mark.parametrize("predicted", [[1], {"latency_ms": "0.2"}, {"budget_ms": "2"}])
def test_a_prediction_of_wrong_types_is_named(model_data, predicted):
    with pytest.raises(RecordError, match=r"m\.onnx: .*predicted"):
        parse_model_file(model_data(predicted=predicted), "m.onnx")


@pytest.mark.parametrize(
    ("said", "kind", "what"),
    [
        ({"space": "nope"}, UnknownSpaceError, "no search space 'nope'"),
        ({"architecture": {**SPACE.smallest(24), "ks": [3]}}, ArchitectureError, "architecture: ks"),
        ({"architecture": None}, MismatchError, "not exported by deploy-nas"),
        ({"quantization": ["8"]}, RecordError, "'quantization' must be an object"),
    ],
)
def test_what_a_file_says_wrongly_is_named(model_data, said, kind, what):
    if "space" in said:
        said["architecture"] = {**SPACE.smallest(24)}
    with pytest.raises(kind, match=what):
        parse_model_file(model_data(**said), "m.onnx")


def test_files_that_are_no_model_of_ours(model_data, tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(RecordError, match=r"m\.onnx: cannot be read"):
        read_model(path)
    path.write_bytes(model_data()[:2000])
    with pytest.raises(RecordError, match=r"m\.onnx: is not an ONNX file, or is cut short"):
        read_model(path)
    graph = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["":17]> g (float[1] x) => (float[1] y) { y = Relu(x) }'
    )
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(MismatchError, match="not exported by deploy-nas"):
        read_model(path)


def test_certifying_writes_the_file_that_was_measured_and_no_other(model_data, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(model_data())
    model = read_model(path)
    path.write_bytes(with_metadata(model.data, {"note": "swapped"}))
    with pytest.raises(MismatchError, match="changed after it was verified"):
        certify(path, model, certificate(model))
    path.write_bytes(model.data)
    certified = certify(path, model, certificate(model))
    assert path.read_bytes() == certified.data and certified.sha256 != model.sha256
    again = read_model(path)
    assert again == certified and again.metadata.certificate == certificate(model)
    assert inspect_model(again.data, "x").graph_sha256 == model.graph_sha256


def test_the_very_same_model_is_kept_with_its_certificate_and_no_other_without_force(model_data, tmp_path):
    path, data = tmp_path / "m.onnx", model_data()
    assert write_model(path, data) == path.read_bytes() == data
    certified = certify(path, read_model(path), certificate(read_model(path))).data
    assert write_model(path, data) == path.read_bytes() == certified != data
    for other in (model_data(labels=list(SPACE.labels)), model_data(4)):
        with pytest.raises(OutputError, match=r"m\.onnx: exists already"):
            write_model(path, other)
    assert path.read_bytes() == certified
    assert write_model(path, data, force=True) == path.read_bytes() == data
    path.write_bytes(data[:-1])
    with pytest.raises(OutputError, match=r"m\.onnx: exists already"):
        write_model(path, data)


# -- edited files ---------------------------------------------------------------------------------

SAID = {
    "labels": list(SPACE.labels),
    "predicted": {"latency_ms": 2.0, "budget_ms": 2.5, "accuracy": 81.0, "accuracy_unit": "percent"},
    "weights": {"source": "w.pth", "sha256": "ab" * 32, "trained": True, "recalibrated": 0},
    "profile": "0123456789ab",
}


@pytest.fixture(scope="module")
def exported(model_data):
    return model_data(**SAID)


def test_the_sign_of_any_tensor_is_covered(exported):
    names = [t.name for t in onnx.load_from_string(exported).graph.initializer]
    assert len(names) > 20
    for number in range(0, len(names), 7):

        def flip(model, number=number):
            tensor = model.graph.initializer[number]
            values = -onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

        with pytest.raises(MismatchError, match=r"m\.onnx: was edited or damaged.*verify it again"):
            parse_model_file(edited(exported, flip), "m.onnx")


def test_every_metadata_value_is_covered(exported):
    keys = [p.key for p in onnx.load_from_string(exported).metadata_props]
    assert keys[-1] == "digest" and {"labels", "preprocessing", "predicted"} < set(keys)
    for number in range(len(keys)):

        def change(model, number=number):
            entry = model.metadata_props[number]
            entry.value = json.dumps(json.loads(entry.value)) + " "

        with pytest.raises(MismatchError, match="was edited or damaged"):
            parse_model_file(edited(exported, change), "m.onnx")


def test_a_verified_file_of_an_earlier_version_is_read(exported):
    """It named no version, said nothing in words, and left the region of its Resizes out."""

    def before(model):
        model.ClearField("producer_version")
        model.ClearField("doc_string")
        for node in model.graph.node:
            if node.op_type == "Resize":
                node.input[1] = ""
        kept = [tensor for tensor in model.graph.initializer if not tensor.name.endswith(".roi")]
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)

    data = sealed_onnx(edited(exported, before))
    assert data != exported
    model = parse_model_file(data, "m.onnx")
    held = replace(certificate(model), metadata_sha256=model.metadata_sha256)
    verified = model.certified(held)
    assert parse_model_file(verified.data, "m.onnx").metadata.certificate == held
    written = onnx.load_from_string(verified.data)
    assert (written.producer_name, written.producer_version) == ("deploy-nas", "")  # who wrote it stays


def test_predictions_and_budgets_of_a_file_without_a_digest_are_not_used(exported, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(edited(exported, lambda model: None, digest=False))
    with pytest.warns(Notice, match=r"m\.onnx: was not written by this deploy-nas.*are not used"):
        found = read_model(path)
    assert not found.sealed and not found.metadata.predicted and found.metadata.profile is None
    assert found.metadata.labels == SPACE.labels and found.metadata.preprocessing is not None
    with pytest.raises(MismatchError, match="was not written by this deploy-nas"):
        certify(path, found, certificate(found))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", [*SPACE.labels[1:], SPACE.labels[0]]),
        ("preprocessing", {"image_size": 24, "mean": [0.1, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}),
        ("predicted", {"latency_ms": 0.5, "budget_ms": 9.0}),
        ("weights", {**SAID["weights"], "sha256": "cd" * 32}),
        ("note", "more"),
    ],
)
def test_a_certificate_covers_all_metadata_but_itself(exported, key, value):
    model = parse_model_file(exported, "m.onnx")
    held = replace(certificate(model), metadata_sha256=model.metadata_sha256)
    data = model.certified(held).data
    assert parse_model_file(data, "m.onnx").metadata.certificate == held
    changed = with_metadata(data, {key: value})  # its digest is made to fit
    for digest in (True, False):
        with pytest.raises(MismatchError, match="after it was verified: its certificate is of another metad"):
            parse_model_file(edited(changed, lambda model: None, digest=digest), "m.onnx")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(exported, value):
    def spoil(model):
        tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.flat[-1] = value
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    with pytest.raises(RecordError, match=r"m\.onnx: holds NaN or an infinity in '.+'; export it again"):
        parse_model_file(sealed_onnx(edited(exported, spoil)), "m.onnx")
