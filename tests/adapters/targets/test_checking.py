"""A check on a target: its result is read, and its name is that of one kit on one device."""

import json

import pytest

from deploy_nas.adapters.targets.checking import checked_there, remove_check
from deploy_nas.core.errors import RecordError
from deploy_nas.core.seals import sealed
from deploy_nas.device.check import CheckResult
from deploy_nas.device.session import ONNX_RUNTIME


class Device:
    def __init__(self, address, answer):
        self.address, self.answer, self.names, self.removed = address, answer, [], []

    def run_kit(self, kit, name, progress=None, *, options=()):
        self.names.append(name)
        return self.answer

    def remove_kit(self, name):
        self.removed.append(name)


def answering():
    fingerprint = ONNX_RUNTIME.fingerprint(
        threads=1, provider="CPUExecutionProvider", provider_options={}, precision="", pinned=False
    )
    found = CheckResult(device=fingerprint, models={}, created="2026")
    return found, json.dumps(sealed(found.to_json())).encode()


def test_the_kit_stays_until_its_result_was_used():
    found, answer = answering()
    device = Device("ssh://there", answer)
    assert checked_there(b"kit", device) == found
    assert device.names[0].startswith("check-") and device.removed == []
    remove_check(b"kit", device)
    assert device.removed == device.names


def test_runs_of_other_kits_and_devices_have_other_names():
    answer = answering()[1]
    devices = [Device("ssh://a", answer), Device("ssh://b", answer), Device("ssh://a", answer)]
    for device, kit in zip(devices, (b"kit", b"kit", b"other"), strict=True):
        checked_there(kit, device)
    assert len({device.names[0] for device in devices}) == 3


def test_what_is_no_result_is_refused():
    with pytest.raises(RecordError, match="ssh://there"):
        checked_there(b"kit", Device("ssh://there", b"hello"))
