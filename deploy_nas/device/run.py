"""Times a plan on this device into a journal, for profiles and for kits."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from deploy_nas.core.plan_arguments import PlanArguments
from deploy_nas.core.settings import Settings
from deploy_nas.device import machine
from deploy_nas.device.clocks import timestamp
from deploy_nas.device.journal import Journal, JournalContent, JournalHeader
from deploy_nas.device.measure import Progress
from deploy_nas.device.runner import Plan, Runner
from deploy_nas.device.runtime import Runtime
from deploy_nas.device.runtimes import runtime_of


def time_plan(
    plan: Plan,
    settings: Settings,
    path: Path,
    *,
    arguments: PlanArguments | None = None,
    fresh: bool = False,
    wait_s: float = 0.0,
    earlier: Callable[[], bytes | None] | None = None,
    takes_again: bool = True,
    finish: Callable[[JournalContent], None] | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    runtime: Runtime | None = None,
    pinned_to: Callable[[int], AbstractContextManager[machine.Pinning]] | None = None,
) -> JournalContent:
    """Time everything that the journal at ``path`` lacks; returns its whole content.

    Args:
        plan: the units to time.
        settings: how to time them.
        path: of the journal, which is created if missing.
        arguments: of the plan, for a new journal's header.
        fresh: start over instead of going on.
        wait_s: how long to wait for another process that writes this journal.
        earlier: as for :class:`Journal`.
        takes_again: whether the bursts of units that were mostly timed in slow moments are taken again.
        finish: called with the content while the journal is locked; the journal is removed afterwards.
        progress: called with the bursts done, the bursts in total and the kind of unit.
        say: called with the result of the A/A test, before the rest is timed.
        runtime: runs the units; that of the settings' provider unless given.
        pinned_to: gives a number of threads their cores; this machine's unless given.

    Raises:
        OptionError: more threads than the device has cores.
        ProviderError: the provider is not available.
        MismatchError: the journal belongs to another run.
    """
    runtime = runtime or runtime_of(settings.provider)
    settings = replace(settings, provider=runtime.resolve(settings.provider))
    with (pinned_to or machine.pinned_to)(settings.threads) as pinning:
        header = JournalHeader(
            plan=plan.id,
            fingerprint=runtime.fingerprint(
                threads=settings.threads,
                provider=settings.provider,
                provider_options=settings.provider_options,
                precision=settings.precision,
                pinned=pinning.pinned,
            ),
            settings=settings,
            created=timestamp(),
            arguments=arguments,
            conditions=pinning.conditions(settings.threads),
        )
        with Journal(path, header, wait_s=wait_s, fresh=fresh, earlier=earlier) as journal:
            Runner(
                plan,
                settings,
                journal,
                progress=progress,
                say=say,
                worker_cores=pinning.worker_cores,
                runtime=runtime,
            ).run(takes_again=takes_again)
            journal.keep()
            timed = JournalContent(
                header=journal.header,
                bursts=journal.bursts,
                whole_bytes=path.stat().st_size,
                duration_s=journal.duration_s,
            )
            if finish is not None:
                finish(timed)
                if os.name == "posix":  # elsewhere an open file cannot be removed
                    path.unlink(missing_ok=True)
    if finish is not None and os.name != "posix":
        path.unlink(missing_ok=True)
    return timed
