"""Runs a checking kit on a target, and removes it there once its result is here."""

from __future__ import annotations

import hashlib

from deploy_nas.adapters.targets.port import Progress, Target
from deploy_nas.device.check import CheckResult


def checked_there(kit: bytes, device: Target, progress: Progress | None = None) -> CheckResult:
    """The result of a checking kit (``adapters.kits.make_check_kit``) on a device.

    Raises:
        TargetError: the device cannot be reached or used.
        RecordError, MismatchError: what came back is not the result of a check.
    """
    name = f"check-{hashlib.sha256(kit).hexdigest()[:12]}"
    result = CheckResult.parse(device.run_kit(kit, name, progress), device.address)
    device.remove_kit(name)
    return result
