"""The one judgement of the machine: what is a fault, what may pass, and that it travels as a value."""

import json

import pytest

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import RecordError, UnstableDeviceError
from deploy_nas.core.fields import Fields

pytestmark = pytest.mark.usefixtures("judging")

QUIET = {"cores": (1,), "busy": 0.99, "spread_percent": 3.0, "speed": 0.95}


def test_a_quiet_machine_and_an_unknown_one_have_no_faults():
    for found in (Conditions(**QUIET), Conditions(), Conditions(**QUIET, quota_cores=1.0)):
        assert found.faults == () and not found.may_pass
        found.check("m.onnx")


@pytest.mark.parametrize(
    ("changed", "fault", "passes"),
    [
        ({"busy": 0.53}, "other work took the processor: runs had it 53% of the time", True),
        ({"spread_percent": 42.0}, "the runs did not repeat: half of them were at least 42% slower", True),
        ({"quota_cores": 0.5, "busy": 0.5}, "a CPU quota of 0.5 cores stops 1 thread again and again", False),
        ({"quota_cores": 0.5}, "a CPU quota of 0.5 cores stops 1 thread", False),  # pauses hid it
        ({"quota_cores": 1.5, "threads": 2}, "a CPU quota of 1.5 cores stops 2 threads", False),
        ({"speed": 0.6}, "the device runs at 0.60 of the speed it was profiled at", False),
    ],
)
def test_each_fault_is_a_sentence_with_its_figure(changed, fault, passes):
    found = Conditions(**{**QUIET, **changed})
    (said,) = found.faults
    assert fault in said and found.may_pass is passes
    with pytest.raises(UnstableDeviceError, match=r"m\.onnx: was measured on an unstable machine") as raised:
        found.check("m.onnx")
    assert said in str(raised.value) and "`allow_unstable`" in raised.value.hint


def test_other_work_under_a_quota_is_laid_to_the_quota():
    (said,) = Conditions(busy=0.4, quota_cores=0.5).faults
    assert "quota" in said and "40% of the time" in said and "other work" not in said


def test_there_and_back_with_its_faults_in_words():
    found = Conditions(**{**QUIET, "busy": 0.5}, threads=2, quota_cores=1.5)
    value = json.loads(json.dumps(found.to_json()))
    assert Conditions.from_json(Fields(value, "f")) == found and value["faults"] == list(found.faults)
    assert Conditions.from_json(Fields(Conditions().to_json(), "f")) == Conditions()
    with pytest.raises(RecordError, match="quota_cores"):
        Conditions.from_json(Fields({**value, "quota_cores": 0}, "f"))


def test_an_emulators_times_and_a_coarse_clock_are_kept():
    found = Conditions(threads=1, clock_ms=0.005, emulator="qemu")
    assert found.faults == ("the times are those of an emulator (qemu), and of no device",)
    assert Conditions.from_json(Fields(found.to_json(), "c")) == found
