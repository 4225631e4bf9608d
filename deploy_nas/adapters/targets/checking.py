"""Runs checking kits on a target."""

from __future__ import annotations

import hashlib

from deploy_nas.adapters.targets.port import Progress, Target
from deploy_nas.device.check import CheckResult


def checked_there(kit: bytes, device: Target, progress: Progress | None = None) -> CheckResult:
    """The result of a checking kit (``adapters.kits.make_check_kit``) on a device.

    The kit stays there, until :func:`remove_check`.

    Raises:
        TargetError: the device cannot be reached or used.
        RecordError, MismatchError: what came back is not the result of a check.
    """
    return CheckResult.parse(device.run_kit(kit, _name(kit, device), progress), device.address)


def remove_check(kit: bytes, device: Target) -> None:
    """Remove a checking kit there, once its result was used, ignoring failures."""
    device.remove_kit(_name(kit, device))


def _name(kit: bytes, device: Target) -> str:
    """The run's name: two devices may have one home folder."""
    return f"check-{hashlib.sha256(device.address.encode() + b' ' + kit).hexdigest()[:12]}"
