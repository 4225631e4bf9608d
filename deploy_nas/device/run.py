"""Time a plan on this device into a journal: what a profile and a kit do alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from deploy_nas.core.settings import Settings
from deploy_nas.device import machine
from deploy_nas.device.journal import Journal, JournalContent
from deploy_nas.device.runner import Plan, Progress, Runner
from deploy_nas.device.session import full_provider_name


def time_plan(
    plan: Plan,
    settings: Settings,
    path: Path,
    *,
    more: Mapping[str, Any] | None = None,
    fresh: bool = False,
    wait_s: float = 0.0,
    earlier: Callable[[], bytes | None] | None = None,
    finish: Callable[[JournalContent], None] | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> JournalContent:
    """Time what the journal at ``path`` does not hold yet; returns all that it holds then.

    Args:
        plan: what to time.
        settings: how.
        path: of the journal, made where it is not there.
        more: further keys of a new journal's header.
        fresh: begin anew instead of going on.
        wait_s: how long to wait for another process that writes this journal.
        earlier: as :class:`Journal` takes it.
        finish: called with all of it while no other process can have the journal, which is removed then.
        progress: called with bursts done, bursts in all and the kind of unit.
        say: called with what the A/A test found, before the rest is timed.

    Raises:
        OptionError: more threads than the device has cores.
        ProviderError: the provider is not there; MismatchError: the journal is of another run.
    """
    settings = replace(settings, provider=full_provider_name(settings.provider))
    with machine.pinned_to(settings.threads) as pinning:
        header = {
            "plan": plan.id,
            "fingerprint": machine.fingerprint(
                threads=settings.threads,
                provider=settings.provider,
                provider_options=settings.provider_options,
                precision=settings.precision,
                pinned=pinning.pinned,
            ).to_json(),
            "settings": asdict(settings),
            **(more or {}),
            "created": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        }
        with Journal(path, header, wait_s=wait_s, fresh=fresh, earlier=earlier) as journal:
            Runner(
                plan, settings, journal, progress=progress, say=say, worker_cores=pinning.worker_cores
            ).run()
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
