"""What this machine is and is doing, as its operating system says; "unknown" where that is silent."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy_nas.core.errors import OptionError
from deploy_nas.core.fingerprint import UNKNOWN, Fingerprint


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def cpu_model() -> str:
    """The processor's name."""
    said: dict[str, str] = {}
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        said.setdefault(key.strip(), value.strip())
    for name in ("model name", "Model", "Hardware"):
        if said.get(name):
            return said[name]
    if "CPU part" in said:  # servers with ARM processors have no other name
        return f"{platform.machine()} implementer {said.get('CPU implementer')} part {said['CPU part']}"
    if platform.system() == "Darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
            return done.stdout.strip()
    return platform.processor() or platform.machine() or UNKNOWN


def cpu_features() -> list[str]:
    """Vector instruction sets that decide which kernels run."""
    wanted = (
        "avx2",
        "fma",
        "avx512f",
        "avx512_vnni",
        "avx_vnni",
        "amx_int8",
        "asimd",
        "asimddp",
        "i8mm",
        "sve",
    )
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            present = set(value.split())
            return [f for f in wanted if f in present]
    return []


def cores() -> list[int]:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def threads_here(threads: int) -> int:
    """So many threads, or as many as there are cores: a file's own device may have more."""
    return min(threads, len(cores()))


def governor() -> str:
    """Frequency governor of the first core."""
    return _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or UNKNOWN


def load_average() -> float | None:
    """Runnable processes, mean of the last minute."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def steal_fraction() -> float | None:
    """Share of processor time the hypervisor gave to others since start; ``None`` where unknown."""
    fields = _read("/proc/stat").splitlines()[:1]
    if not fields or not fields[0].startswith("cpu "):
        return None
    ticks = [int(t) for t in fields[0].split()[1:]]
    return ticks[7] / max(1, sum(ticks[:8])) if len(ticks) > 7 else None


def described(
    *,
    runtime: str,
    runtime_version: str,
    build: str,
    threads: int,
    provider: str,
    provider_options: Mapping[str, str],
    precision: str,
    pinned: bool,
) -> Fingerprint:
    """This machine's fingerprint with what a runtime says of itself."""
    return Fingerprint(
        cpu=cpu_model(),
        cpu_features=tuple(cpu_features()),
        cores=os.cpu_count() or 1,
        machine=platform.machine(),
        os=f"{platform.system()} {platform.release().split('-')[0]}",
        threads=threads,
        pinned=pinned,
        provider=provider,
        provider_options=dict(provider_options),
        runtime=runtime,
        runtime_version=runtime_version,
        build=build,
        precision=precision,
        governor=governor(),
    )


def fingerprint(
    *, threads: int, provider: str, provider_options: Mapping[str, str], precision: str, pinned: bool
) -> Fingerprint:
    """This machine's with ONNX Runtime; raises :class:`ProviderError` where it is missing."""
    from deploy_nas.device.session import ONNX_RUNTIME  # which describes the machine by this module

    return ONNX_RUNTIME.fingerprint(
        threads=threads,
        provider=provider,
        provider_options=provider_options,
        precision=precision,
        pinned=pinned,
    )


def fingerprint_like(on: Fingerprint, *, threads: int | None = None) -> Fingerprint:
    """This device's, running a model as ``on`` says; ``threads`` where it is measured with others."""
    return fingerprint(
        threads=threads or on.threads,
        provider=on.provider,
        provider_options=on.provider_options,
        precision=on.precision,
        pinned=True,
    )


@dataclass(frozen=True, slots=True)
class Pinning:
    """Whether this thread is kept on one core, and the cores left for a session's other threads."""

    pinned: bool
    worker_cores: tuple[int, ...] = ()


@contextlib.contextmanager
def pinned_to(threads: int) -> Iterator[Pinning]:
    """Keep this thread on the last core, and name the cores before it for ``threads - 1`` others.

    Without it, the threads of a small network now and then share one core and take twice the time. Raises
    :class:`OptionError` for more threads than cores, which would all be on this one.
    """
    if not 1 <= threads <= len(cores()):
        raise OptionError(
            f"must be from 1 to the {len(cores())} cores of this device, is {threads}", subject="threads"
        )
    if not hasattr(os, "sched_setaffinity"):
        yield Pinning(pinned=False)
        return
    before = os.sched_getaffinity(0)
    chosen = sorted(before)[-threads:]
    try:
        os.sched_setaffinity(0, {chosen[-1]})
    except OSError:
        yield Pinning(pinned=False)
        return
    try:
        yield Pinning(pinned=True, worker_cores=tuple(chosen[:-1]))
    finally:
        os.sched_setaffinity(0, before)
