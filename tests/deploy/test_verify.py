import json

import numpy as np
import onnx
import pytest

from deploy_nas.adapters.graphs import build_model, graph_digest, weight_tensors, with_metadata
from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.spaces import get_space
from deploy_nas.deploy import verify
from deploy_nas.deploy.verify import Measured, Verification, verify_model
from deploy_nas.device.session import random_initializers

SPACE = get_space("ofa-mbv3-cifar10")


@pytest.fixture
def model(tmp_path):
    """``model(**predicted)``: an exported file of the smallest subnet."""

    def make(**predicted):
        architecture = SPACE.smallest(24)
        layers = SPACE.layers(architecture)
        weights = random_initializers(weight_tensors(layers), np.random.default_rng(0))
        metadata = {
            "space": SPACE.id,
            "architecture": {"space": SPACE.id, **architecture},
            "predicted": predicted,
        }
        path = tmp_path / "m.onnx"
        path.write_bytes(build_model(layers, weights, metadata=metadata))
        return path

    return make


def measured(latency_ms, sentinel_ms=None):
    return Measured(
        latency_ms=latency_ms,
        p50_ms=latency_ms,
        p90_ms=latency_ms,
        p99_ms=latency_ms,
        runs=9,
        sentinel_ms=sentinel_ms,
    )


def test_what_the_file_says_is_compared(model, monkeypatch):
    monkeypatch.setattr(verify, "measure", lambda data, **how: measured(2.0))
    result = verify_model(model(latency_ms=2.1, bound_ms=2.2, budget_ms=2.5))
    assert (result.predicted_ms, result.bound_ms, result.budget_ms) == (2.1, 2.2, 2.5)
    assert result.within_budget is True and result.error_percent == pytest.approx(5.0)
    assert verify_model(model(latency_ms=2.1, budget_ms=2.5), budget_ms=1.9).within_budget is False
    nothing = verify_model(model())
    assert nothing.within_budget is None and nothing.error_percent is None and nothing.speed is None


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
    return changed.SerializeToString()


def test_an_input_that_is_not_the_architectures_is_refused(model, monkeypatch):
    monkeypatch.setattr(verify, "measure", lambda data, **how: measured(2.0))
    path = model(latency_ms=2.0)
    data = path.read_bytes()
    path.write_bytes(resized(data, h=None, w=None))
    with pytest.raises(MismatchError, match=r"takes float32 \[1, 3, None, None\], its architecture float32"):
        verify_model(path)
    half = onnx.load_from_string(data)
    half.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    path.write_bytes(half.SerializeToString())
    with pytest.raises(MismatchError, match=r"takes float16 \[1, 3, 24, 24\]"):
        verify_model(path)
    del half.graph.input[0].type.tensor_type.shape.dim[3]
    path.write_bytes(half.SerializeToString())
    with pytest.raises(RecordError, match="does not take images"):
        verify_model(path)


def test_what_was_promised_is_of_single_images(model, made_profile, monkeypatch):
    monkeypatch.setattr(verify, "measure", lambda data, **how: measured(2.0))
    path = model(latency_ms=2.0, budget_ms=1.0)
    data = path.read_bytes()
    path.write_bytes(resized(data, n=None))
    assert verify_model(path).within_budget is False
    path.write_bytes(resized(data, n=4))
    found = verify_model(path)
    assert found.predicted_ms is None and found.within_budget is None
    assert verify_model(path, budget_ms=1.0).within_budget is False
    with pytest.raises(MismatchError, match="several images at once"):
        verify_model(path, profile=made_profile())


def test_int8_for_another_processor_is_said(model, monkeypatch):
    monkeypatch.setattr(verify, "measure", lambda data, **how: measured(2.0))
    path = model()
    assert verify_model(path).misfits == ()
    path.write_bytes(with_metadata(path.read_bytes(), {"quantization": {"weight_bits": 8}}))
    data = path.read_bytes()
    for features, kind, misfits in ((["avx2"], "x86_64", 1), (["avx_vnni"], "x86_64", 0), ([], "arm64", 0)):
        device = {"cpu_features": features, "machine": kind}
        found = verify.verify_data(data, "m", measured=measured(2.0), device=device)
        assert len(found.misfits) == misfits
    path.write_bytes(with_metadata(data, {"quantization": ["8"]}))
    assert verify_model(path).misfits == ()


def test_a_slower_device_is_told_from_a_wrong_table(model, made_profile, monkeypatch):
    profile = made_profile()
    slower = measured(2.0, sentinel_ms=1.25 * profile.sentinel_ms)
    monkeypatch.setattr(verify, "measure", lambda data, **how: slower)
    assert verify_model(model(), profile=profile).speed is None  # another device's profile: nothing to say
    monkeypatch.setattr(verify, "device_differences", lambda profile, device=None, threads=None: ())
    result = verify_model(model(), profile=profile)
    assert result.speed == pytest.approx(0.8)
    assert result.predicted_ms == pytest.approx(profile.latency_ms(SPACE.encode([SPACE.smallest(24)]))[0])
    assert result.bound_ms > result.predicted_ms


def test_threads_come_from_the_profile_or_the_file(model, made_profile, monkeypatch):
    asked = []
    monkeypatch.setattr(verify, "measure", lambda data, **how: asked.append(how["threads"]) or measured(1.0))
    verify_model(model(threads=2))
    verify_model(model(), profile=made_profile(threads=2))
    verify_model(model(threads=2), threads=1)
    verify_model(model())
    assert asked == [2, 2, 1, 1]


def test_other_threads_than_the_profiles_are_said_and_no_speed_is_told(model, made_profile, monkeypatch):
    monkeypatch.setattr(verify, "_DEVICE_KEYS", ("threads", "provider"))
    seen = []

    def sentinel(*_):
        seen.append(1)
        raise AssertionError

    profile = made_profile()
    assert verify.device_differences(profile) == ()
    monkeypatch.setattr(verify, "sentinel_timer", sentinel)
    monkeypatch.setattr(verify, "ROUNDS", 1)
    result = verify_model(model(), profile=profile, threads=2)
    assert not seen and result.speed is None
    assert result.differences == ("threads: profiled 1, here 2",)


def test_the_profiles_provider_options_are_those_of_the_measurement(model, made_profile, monkeypatch):
    asked = []
    monkeypatch.setattr(verify, "measure", lambda data, **how: asked.append(how) or measured(1.0))
    profile = made_profile()
    profile.fingerprint["provider_options"] = {"use_arena": "0"}
    verify_model(model(), profile=profile)
    assert asked[0]["provider_options"] == {"use_arena": "0"}


def test_graphs_spelled_otherwise_are_said(made_profile, monkeypatch):
    layers = SPACE.layers(SPACE.smallest(20))
    profile = made_profile()
    assert verify.respelled(profile) == ()
    profile.fingerprint["graphs"] = verify.graph_form(layers, "fp32")
    assert verify.respelled(profile) == ()
    there = dict(profile.fingerprint)
    profile.fingerprint["graphs"] = "of another time"
    assert verify.device_differences(profile, there)[-1].startswith("graphs: profiled as another deploy-nas")


def test_processors_of_one_name_are_told_apart(made_profile):
    there = {**made_profile().fingerprint, "cpu_features": ["avx2", "avx512_vnni"]}
    assert verify.device_differences(made_profile(), there)[0].startswith("cpu_features: profiled ")


def test_another_devices_threads_and_provider_are_compared(made_profile):
    there = {**made_profile().fingerprint, "threads": 4}
    assert verify.device_differences(made_profile(), there) == ("threads: profiled 1, there 4",)


@pytest.mark.parametrize("predicted", [[1], {"latency_ms": "0.2"}, {"budget_ms": "2"}])
def test_a_prediction_of_wrong_types_is_named(model, predicted, monkeypatch):
    data = with_metadata(model().read_bytes(), {"predicted": predicted})
    with pytest.raises(RecordError, match="predicted"):
        verify.verify_data(data, "m.onnx", measured=measured(1.0))


@pytest.mark.parametrize("certificate", [{}, {"measured": 1}, {"measured": {"latency_ms": 1.0}}])
def test_a_certificate_without_its_keys_is_named(model, certificate):
    data = model().read_bytes()
    whole = {"graph_sha256": graph_digest(data), **certificate}
    with pytest.raises(RecordError, match="certificate"):
        verify.verify_data(with_metadata(data, {"certificate": whole}), "m.onnx", measured=measured(1.0))


def test_files_and_profiles_that_do_not_fit(model, made_profile, tmp_path):
    path = model()
    with pytest.raises(MismatchError, match="of space"):
        verify_model(path, profile=made_profile("ofa-mbv3-w1.0"))
    with pytest.raises(MismatchError, match="24 was not profiled"):
        verify_model(path, profile=made_profile(image_sizes=[32]))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(RecordError):
        verify_model(path)
    graph = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["":17]> g (float[1] x) => (float[1] y) { y = Relu(x) }'
    )
    other = tmp_path / "other.onnx"
    other.write_bytes(graph.SerializeToString())
    with pytest.raises(MismatchError, match="not exported by deploy-nas"):
        verify_model(other)


def test_measuring_for_real_gives_ordered_quantiles(model, made_profile):
    found = verify.measure(model().read_bytes(), profile=made_profile(), rounds=2)
    assert 0 < found.latency_ms <= found.p50_ms <= found.p90_ms <= found.p99_ms
    assert found.sentinel_ms is not None and found.runs >= 16
    assert json.dumps(found.latency_ms)


def test_verification_at_the_budget_is_within():
    result = Verification(
        measured=measured(2.0), predicted_ms=None, bound_ms=None, budget_ms=2.0, speed=None, differences=()
    )
    assert result.within_budget is True
