"""Profile other devices: make a kit, import its result, or have a target run it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deploy_nas.adapters.kits import make_kit
from deploy_nas.adapters.targets import FRESH, KEEP, Target, is_browser, target_of
from deploy_nas.core.errors import MismatchError, OptionError, RecordError
from deploy_nas.core.plan_arguments import PlanArguments
from deploy_nas.core.precision import processor_of
from deploy_nas.core.reader import MOST_JSON_BYTES
from deploy_nas.device.journal import Bursts, parse_journal
from deploy_nas.device.kit import split_result
from deploy_nas.device.measure import Progress
from deploy_nas.profiling.plan import ProfilePlan, plan_of
from deploy_nas.records.files import check_output, read_bytes, write_atomic
from deploy_nas.records.profile import Profile, check_readable, save_profile
from deploy_nas.workflows.given import GivenProfile, profile_given
from deploy_nas.workflows.profile import ProfileRequest, plan_for, profile_of, settings_for


def kit_for(
    request: ProfileRequest, priors: Sequence[Profile] = (), *, slow: bool = False
) -> tuple[ProfilePlan, bytes]:
    """The plan and the kit for a request; the provider is checked on the device, not here.

    With ``priors``, the kit times the few networks that carry their tables over. On a ``slow`` device, as a
    browser is, networks take ten times as long: fewer and shorter bursts keep the run within minutes.
    """
    if request.threads < 1:
        raise OptionError(f"must be at least 1, is {request.threads}", subject="threads")
    plan, settings = plan_for(request, priors), settings_for(request)
    if slow:
        settings = replace(
            settings,
            rounds=4,
            row_rounds=2,
            passes=2,
            extra_rounds=1,
            burst_ms=15.0,
            row_burst_ms=6.0,
            least_runs=3,
            warmup_runs=1,
        )
    return plan, make_kit(plan, settings)


def write_kit(request: ProfileRequest) -> int:
    """Write a kit to ``request.output``; returns its size in bytes.

    Raises:
        OptionError: INT8 without a named processor: the kit's device is not known here.
    """
    check_output(request.output, force=request.force)
    if request.int8_for_this_processor:
        raise OptionError("must name the device's processor for an INT8 kit", subject="int8_for")
    data = kit_for(request, [profile_given(prior) for prior in request.like])[1]
    write_atomic(request.output, data, force=request.force)
    return len(data)


def profile_of_result(data: bytes, subject: str, priors: Sequence[Profile] = ()) -> Profile:
    """The profile of a kit's result; ``priors`` are those that it carries over.

    Raises:
        OptionError: ``priors`` are needed and missing, or given for a kit that timed everything.
        RecordError: cut short, with missing units, or with invalid times.
        VersionError: of a newer deploy-nas.
        MismatchError: edited, or of a kit of another deploy-nas version.
    """
    content = parse_journal(split_result(data, subject), subject, finished=True)
    header = content.header
    if header.arguments is None:
        raise RecordError("is a journal of this machine, not a kit's result", subject=subject)
    _check_size(header.arguments, content.bursts, subject)
    plan = plan_of(header.arguments)
    if plan.only and not priors:
        raise OptionError(
            f"is needed: the kit of {subject} timed {len(plan.only)} networks, to carry a profile over",
            subject="like",
            hint="name the profile that the kit was made with",
        )
    if priors and not plan.only:
        raise OptionError(f"is not needed: the kit of {subject} timed a whole profile", subject="like")
    if plan.id != header.plan:
        raise MismatchError(
            "is the result of another deploy-nas version's kit", subject=subject, hint="make a new kit"
        )
    planned = {unit.id for block in plan.blocks for unit in block}
    if stray := next((unit for unit, _ in content.bursts if unit not in planned), None):
        raise RecordError(f"holds a unit that is not in the plan: {stray[:80]}", subject=subject)
    try:
        return profile_of(plan, priors, content)
    except (ArithmeticError, ValueError, LookupError) as error:  # of times that no device gives
        raise RecordError(f"no profile can be made of its times ({error})", subject=subject) from error


def _check_size(arguments: PlanArguments, bursts: Bursts, subject: str) -> None:
    """Raise :class:`RecordError` for a plan that is far larger than what was timed, before it is made."""
    asked = len(arguments.image_sizes) * (arguments.fit_per_size + arguments.validation_per_size)
    timed = len({unit for unit, _ in bursts})
    # A small space has fewer networks than were asked for.
    if asked > 1000 + 10 * timed:
        raise RecordError(f"asks for {asked} networks, but holds times of {timed} units", subject=subject)


def import_result(
    result: Path, output: Path, *, like: Sequence[GivenProfile] = (), force: bool = False
) -> Profile:
    """Check a kit's result and write its profile; ``like`` are the profiles that the kit carries over."""
    check_output(output, force=force)
    priors = [profile_given(prior) for prior in like]
    profile = profile_of_result(read_bytes(result, MOST_JSON_BYTES), str(result), priors)
    save_profile(check_readable(profile), output, force=force)
    return profile


def _run_name(plan: str, request: ProfileRequest) -> str:
    """The name of a run on a device: other settings of the same plan go on from no times of this one."""
    place = re.sub("[^a-z0-9]+", "-", request.provider.lower()).removesuffix("executionprovider")
    return f"{plan}-{request.threads}t" + ("" if place == "cpu" else f"-{place}")


def profile_target(
    request: ProfileRequest,
    target: str | Target,
    *,
    ssh_options: Sequence[str] = (),
    progress: Progress | None = None,
) -> Profile:
    """Profile a device; all timing happens there, and INT8 is for its processor unless one is named.

    Args:
        request: the profile, and where it is written here.
        target: the device, or its address (``adapters.targets.target_of``).
        ssh_options: for ssh and scp.
        progress: called with bursts done, bursts in all and the kind of unit.

    Raises:
        TargetError: the device cannot be reached or used.
        InputError: as :func:`profile_device` and :func:`profile_of_result` raise them.
    """
    check_output(request.output, force=request.force)
    device = target_of(target, ssh_options)
    if request.int8_for_this_processor:
        # Instruction sets within an architecture change the bits of a weight, but not what is timed.
        request = replace(request, int8_for=processor_of((), device.machine()))
    priors = [profile_given(prior) for prior in request.like]
    plan, kit = kit_for(request, priors, slow=is_browser(device))
    name = _run_name(plan.id, request)
    data = device.run_kit(kit, name, progress, options=[FRESH if request.fresh else KEEP])
    profile = profile_of_result(data, device.address, priors)
    save_profile(check_readable(profile), request.output, force=request.force)
    device.remove_kit(name)
    return profile
