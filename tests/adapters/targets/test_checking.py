"""A check on a target: its result is read, and the kit removed only once it is."""

import json

import pytest

from deploy_nas.adapters.targets.checking import checked_there
from deploy_nas.core.errors import RecordError
from deploy_nas.core.seals import sealed
from deploy_nas.device.check import CheckResult
from deploy_nas.device.session import ONNX_RUNTIME


class Device:
    address = "ssh://there"

    def __init__(self, answer):
        self.answer, self.names = answer, []

    def run_kit(self, kit, name, progress=None, *, options=()):
        self.names.append(name)
        return self.answer

    def remove_kit(self, name):
        self.names.append(name)


def test_the_result_is_read_and_the_kit_removed():
    fingerprint = ONNX_RUNTIME.fingerprint(
        threads=1, provider="CPUExecutionProvider", provider_options={}, precision="", pinned=False
    )
    found = CheckResult(device=fingerprint, models={})
    device = Device(json.dumps(sealed(found.to_json())).encode())
    assert checked_there(b"kit", device) == found
    first, removed = device.names
    assert first == removed and first.startswith("check-")
    other = Device(device.answer)
    checked_there(b"another kit", other)
    assert other.names[0] != first


def test_what_is_no_result_leaves_the_kit_there():
    device = Device(b"hello")
    with pytest.raises(RecordError, match="ssh://there"):
        checked_there(b"kit", device)
    assert len(device.names) == 1
