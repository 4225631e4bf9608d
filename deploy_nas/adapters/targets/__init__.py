"""Targets: the devices that kits run on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploy_nas.adapters.targets.browser import ADDRESS as BROWSER
from deploy_nas.adapters.targets.browser import PAGE, BrowserTarget
from deploy_nas.adapters.targets.carried import SUFFIX, CarriedTarget
from deploy_nas.adapters.targets.here import ADDRESS, HereTarget
from deploy_nas.adapters.targets.port import FRESH, KEEP, Progress, Target
from deploy_nas.adapters.targets.ssh import SshTarget
from deploy_nas.core.errors import OptionError, TargetError

__all__ = [
    "FRESH",
    "KEEP",
    "BrowserTarget",
    "CarriedTarget",
    "HereTarget",
    "Progress",
    "SshTarget",
    "Target",
    "is_browser",
    "needs_a_person",
    "target_of",
]


def is_browser(target: Target) -> bool:
    """Whether kits run in a browser there."""
    return target.address == BROWSER or target.address.startswith(PAGE)


def needs_a_person(target: Target) -> bool:
    """Whether somebody has to carry each kit there, or to open a page for it."""
    return target.address.endswith(SUFFIX) or target.address.startswith(PAGE)


def target_of(address: str | Target, options: Sequence[str] = ()) -> Target:
    """The target at an address, or the target that is given.

    Args:
        address: ``here``, ``ssh://[user@]host[:port]``, ``browser`` (Chromium of this machine),
            ``page://HOST[:PORT]`` (a page to open), or the path of a kit to carry, ``*.pyz``.
        options: for ssh and scp.

    Raises:
        TargetError: the address has another form, or ssh is not installed here.
        OptionError: options for a target that takes none.
    """
    if not isinstance(address, str):
        return address
    if address.startswith("ssh:"):
        return SshTarget(address, options)
    if options:
        raise OptionError("can only be given for a target over ssh", subject="ssh_options")
    if address == ADDRESS:
        return HereTarget()
    if address == BROWSER or address.startswith(PAGE):
        return BrowserTarget(address)
    if "://" in address or not address.endswith(SUFFIX):
        raise TargetError(
            f"must be {ADDRESS}, ssh://[user@]host[:port], {BROWSER}, {PAGE}HOST[:PORT], or the path of "
            f"a kit, *{SUFFIX}",
            subject=address,
        )
    return CarriedTarget(Path(address))
