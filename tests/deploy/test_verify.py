"""What a model is held against, and how a measurement compares; nothing is timed here."""

import math
from dataclasses import replace

import onnx
import pytest

from deploy_nas.adapters.graphs import changed_graphs, graph_form
from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import BudgetError, MismatchError, UnstableDeviceError
from deploy_nas.core.fingerprint import CPU_PROVIDER, Difference, Fingerprint
from deploy_nas.core.measured import Measured, Top1
from deploy_nas.core.spaces import embedded_space
from deploy_nas.deploy.model_file import parse_model_file
from deploy_nas.deploy.verify import Verification, certificate_of, compare, promise_of

SPACE = embedded_space()
DEVICE = Fingerprint(cpu="here", cores=2, machine="x86_64", os="os", runtime_version="1.0")


def measured(latency_ms, sentinel_ms=None):
    return Measured(
        latency_ms=latency_ms,
        p50_ms=latency_ms,
        p90_ms=latency_ms,
        p99_ms=latency_ms,
        runs=9,
        sentinel_ms=sentinel_ms,
    )


@pytest.fixture
def model(model_data):
    """``model(batch=1, **metadata)``: as it is read from its file."""
    return lambda batch=1, **said: parse_model_file(model_data(batch, **said), "m.onnx")


def verified(model, profile=None, latency_ms=2.0, found=DEVICE, **how):
    return compare(model, promise_of(model, profile, **how), measured(latency_ms), found)


def on(profile, **changes):
    """The profile with another fingerprint."""
    return replace(profile, fingerprint=replace(profile.fingerprint, **changes))


# -- promises -------------------------------------------------------------------------------------


def test_what_the_file_says_is_compared(model):
    said = {"latency_ms": 2.1, "bound_ms": 2.2, "budget_ms": 2.5, "confidence": 0.9}
    result = verified(model(predicted=said))
    assert (result.predicted_ms, result.bound_ms, result.budget_ms) == (2.1, 2.2, 2.5)
    assert result.confidence == 0.9
    assert result.within_budget is True and result.error_percent == pytest.approx(5.0)
    assert verified(model(predicted=said), budget_ms=1.9).within_budget is False
    nothing = verified(model())
    assert nothing.within_budget is None and nothing.error_percent is None and nothing.speed is None


def test_what_was_promised_is_of_single_images(model, made_profile):
    said = {"latency_ms": 2.0, "bound_ms": 2.0, "confidence": 0.9, "budget_ms": 1.0}
    assert verified(model(None, predicted=said)).within_budget is False
    four = model(4, predicted=said)
    found = verified(four)
    assert found.predicted_ms is None and found.bound_ms is None and found.confidence is None
    assert found.within_budget is None
    assert verified(four, budget_ms=1.0).within_budget is False
    with pytest.raises(MismatchError, match=r"m\.onnx: takes several images at once"):
        promise_of(four, made_profile())


@pytest.mark.parametrize("budget_ms", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_budget_that_is_none_is_named(model, budget_ms):
    with pytest.raises(BudgetError, match="max_latency_ms: must be a positive number"):
        promise_of(model(), budget_ms=budget_ms)


def test_a_profiles_prediction_goes_before_the_files(model, made_profile):
    profile = made_profile()
    said = {"latency_ms": 7.0, "bound_ms": 8.0, "budget_ms": 9.0}
    promise = promise_of(model(predicted=said), profile)
    expected = float(profile.latency_ms(SPACE.encode([SPACE.smallest(24)]))[0])
    assert promise.predicted_ms == pytest.approx(expected) and promise.budget_ms == 9.0
    assert promise.bound_ms == pytest.approx(expected * profile.upper_ratio(0.95))
    assert promise.confidence == 0.95 and promise.bound_ms > promise.predicted_ms
    assert promise_of(model(), profile, confidence=None).bound_ms == promise.predicted_ms
    unvalidated = promise_of(model(), replace(profile, pairs=()))
    assert unvalidated.bound_ms is None and unvalidated.confidence is None


def test_threads_come_from_the_profile_or_the_file(model, made_profile):
    two = model(predicted={"threads": 2})
    asked = [
        promise_of(two).threads,
        promise_of(model(), made_profile(threads=2)).threads,
        promise_of(two, threads=1).threads,
        promise_of(model()).threads,
    ]
    assert asked == [2, 2, 1, 1]


def test_the_predictions_provider_is_that_of_the_measurement(model, made_profile):
    said = {"latency_ms": 1.0, "provider": "FastProvider", "provider_options": {"speed": "most"}}
    promise = promise_of(model(predicted=said))
    assert (promise.provider, promise.provider_options) == ("FastProvider", {"speed": "most"})
    profile = on(made_profile(), provider="SlowProvider", provider_options={"use_arena": "0"})
    promise = promise_of(model(predicted=said), profile)
    assert (promise.provider, promise.provider_options) == ("SlowProvider", {"use_arena": "0"})
    assert promise.timed_here is profile
    plain = promise_of(model())  # a file of before names none
    assert (plain.provider, plain.provider_options) == (CPU_PROVIDER, {})


def test_an_imported_table_has_no_provider_and_no_sentinel_of_this_machine(model, made_profile):
    from deploy_nas.records.profile_parts import Imported

    table = Imported(format="tables", device="phone", files={})
    profile = replace(on(made_profile(), provider="PhoneProvider"), imported=table, pairs=())
    promise = promise_of(model(), profile)
    assert promise.provider == CPU_PROVIDER and promise.timed_here is None and promise.profile is profile


def test_profiles_that_do_not_fit(model, made_profile):
    with pytest.raises(MismatchError, match=r"of space ofa-mbv3-w1\.0, the model of ofa-mbv3-cifar10"):
        promise_of(model(), made_profile("ofa-mbv3-w1.0"))
    with pytest.raises(MismatchError, match="24 was not profiled"):
        promise_of(model(), made_profile(image_sizes=[32]))
    with pytest.raises(MismatchError, match="holds fp32 latencies, the model is int8; profile with"):
        promise_of(model(precision="int8"), made_profile())


# -- comparisons ----------------------------------------------------------------------------------


def test_a_slower_device_is_told_from_a_wrong_table(model, made_profile):
    profile = made_profile()
    slower = measured(2.0, sentinel_ms=1.25 * profile.sentinel_ms)
    promise = promise_of(model(), profile)
    assert compare(model(), promise, slower, DEVICE).speed is None  # another device: nothing to say
    result = compare(model(), promise, slower, profile.fingerprint)
    assert result.speed == pytest.approx(0.8) and result.differences == ()
    assert compare(model(), promise, measured(2.0), profile.fingerprint).speed is None


def test_differences_are_values_that_say_what_they_are(model, made_profile):
    profile = made_profile()
    there = replace(profile.fingerprint, threads=4)
    (found,) = compare(model(), promise_of(model(), profile), measured(1.0), there, where="there").differences
    assert found == Difference(name="threads", profiled=1, found=4, where="there")
    assert str(found) == "threads: profiled 1, there 4"


def test_processors_of_one_name_are_told_apart(model, made_profile):
    profile = made_profile()
    there = replace(profile.fingerprint, cpu_features=("avx2", "avx512_vnni"))
    (found,) = verified(model(), profile, found=there).differences
    assert str(found) == "cpu_features: profiled None, here ['avx2', 'avx512_vnni']"


def test_a_models_own_precision_is_no_difference(model, made_profile):
    profile = on(made_profile(), precision="int8")
    there = replace(profile.fingerprint, precision="")  # as a checking kit has it: it knows none
    result = verified(model(precision="int8"), profile, found=there)
    assert result.differences == () and result.measured_on.precision == "int8"


def test_graphs_of_another_form_are_said(model, made_profile):
    profile = made_profile()
    assert changed_graphs(profile) is None
    layers = SPACE.layers(SPACE.smallest(20))
    assert changed_graphs(on(profile, graphs=graph_form(layers, "fp32"))) is None
    old = on(profile, graphs="of another time")
    (found,) = verified(model(), old, found=old.fingerprint).differences
    assert found.name == "graphs" and str(found).startswith("graphs: profiled as another deploy-nas")


def test_int8_for_another_processor_is_warned_of(model):
    assert verified(model()).warning is None
    eight = model(precision="int8", quantization={"weight_bits": 8})
    for features, kind, warned in (
        (("avx2",), "x86_64", True),
        (("avx_vnni",), "x86_64", False),
        ((), "arm64", False),
        (None, "x86_64", True),
    ):
        result = verified(eight, found=replace(DEVICE, cpu_features=features, machine=kind))
        assert (result.warning is not None) is warned
    assert "`int8_for` x86" in verified(eight).warning
    assert verified(model(precision="int8", quantization={"weight_bits": 7})).warning is None


def test_verification_at_the_budget_is_within():
    assert Verification(measured=measured(2.0), budget_ms=2.0).within_budget is True
    assert Verification(measured=measured(2.0), budget_ms=math.nextafter(2.0, 0.0)).within_budget is False


# -- certificates ---------------------------------------------------------------------------------


def test_a_certificate_says_what_was_promised_measured_and_where(model):
    said = {
        "latency_ms": 2.1,
        "bound_ms": 2.2,
        "confidence": 0.95,
        "budget_ms": 1.5,
        "profile": "p",
        "provider": "FastProvider",
    }
    weights = {"source": "w.pth", "sha256": "a" * 64, "trained": True, "recalibrated": 0}
    agreement = {"with": "another", "inputs": 2, "largest_difference": 1e-6, "allowed": 1e-4}
    one = model(predicted=said, profile="p", weights=weights, agreement=agreement)
    there = replace(DEVICE, threads=2, provider="FastProvider", provider_options={"speed": "most"})
    top1 = Top1(right=3, images=4)
    made = certificate_of(one, verified(one, found=there), top1)
    assert (made.predicted_ms, made.bound_ms, made.confidence, made.budget_ms) == (2.1, 2.2, 0.95, 1.5)
    assert made.within_budget is False and made.profile == "p" and made.weights_sha256 == "a" * 64
    assert made.measured == measured(2.0) and made.agreement == one.metadata.agreement and made.top1 == top1
    where = made.measured_on
    assert (where.cpu, where.threads, where.runtime_version, where.precision) == ("here", 2, "1.0", "fp32")
    assert (where.provider, where.provider_options) == ("FastProvider", {"speed": "most"})
    assert parse_model_file(one.certified(made).data, "m").metadata.certificate == made


def test_a_file_certified_says_so_in_the_next_verification(model):
    one = model()
    made = certificate_of(one, verified(one))
    again = one.certified(made)
    assert verified(again).certificate == made and verified(again).sha256 == again.sha256 != one.sha256
    assert again.graph_sha256 == one.graph_sha256
    before, after = (onnx.load_from_string(m.data) for m in (one, again))
    del before.metadata_props[:], after.metadata_props[:]
    assert before == after


def test_nothing_measured_on_an_unstable_machine_is_certified_unless_told(model, judging):
    busy = replace(measured(2.0), conditions=Conditions(busy=0.53))
    found = compare(model(), promise_of(model()), busy, DEVICE)
    assert found.faults == ("other work took the processor: runs had it 53% of the time",)
    with pytest.raises(UnstableDeviceError, match=r"m\.onnx: was measured on an unstable machine"):
        certificate_of(model(), found)
    told = certificate_of(model(), found, allow_unstable=True)
    assert told.measured.faults == found.faults and told.to_json()["measured"]["conditions"]["faults"]


def test_the_speed_is_judged_on_the_profiles_device_alone(model, made_profile):
    profile = made_profile()
    slow = replace(measured(2.0, 2.0 * profile.sentinel_ms), conditions=Conditions(speed=0.5))
    promise = promise_of(model(), profile)
    assert "0.50 of the speed" in compare(model(), promise, slow, profile.fingerprint).faults[0]
    assert compare(model(), promise, slow, DEVICE).faults == ()
