"""This machine's hardware and load, as its operating system reports them; "unknown" if it does not."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy_nas.core.conditions import Conditions
from deploy_nas.core.errors import OptionError
from deploy_nas.core.fingerprint import UNKNOWN, Fingerprint
from deploy_nas.device.cgroups import lines
from deploy_nas.device.cores import choose, hardware_threads, kind, loads, quota_cores, speeds

_CPUINFO = Path("/proc/cpuinfo")
_SELF = Path("/proc/self")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def emulator() -> str | None:
    """Name of the emulator that this process' instructions run in, as qemu runs ARM's; ``None``: a processor.

    An emulator of user programs shows a program its own path as ``/proc/self/exe``, and the kernel knows
    better. Other emulators show the processor information of another architecture.
    """
    with contextlib.suppress(OSError):
        real = (_SELF / "task" / str(os.getpid()) / "exe").readlink().name
        if real != (_SELF / "exe").readlink().name:
            return real.partition("-")[0] or UNKNOWN
    keys = {line.partition(":")[0].strip() for line in lines(_CPUINFO)}
    arm = platform.machine() in ("aarch64", "arm64") or platform.machine().startswith("armv")
    return UNKNOWN if arm and "vendor_id" in keys and "CPU implementer" not in keys else None


def cpu_model() -> str:
    """The processor's name; an emulated one says so."""
    by = emulator()
    return _cpu_name() if by is None else f"{platform.machine()} in an emulator ({by}) on {_cpu_name()}"


def _cpu_name() -> str:
    said: dict[str, str] = {}
    for line in lines(_CPUINFO):
        key, _, value = line.partition(":")
        said.setdefault(key.strip(), value.strip())
    for name in ("model name", "Model", "Hardware"):
        if said.get(name):
            return said[name]
    if "CPU part" in said:  # ARM servers give no other name
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
    for line in lines(_CPUINFO):
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            present = set(value.split())
            return [f for f in wanted if f in present]
    return []


def cores() -> list[int]:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def threads_here(threads: int) -> int:
    """``threads``, at most as many as there are cores: a file may come from a device with more."""
    return min(threads, len(cores()))


def system() -> str:
    """Operating system and release."""
    return f"{platform.system()} {platform.release().split('-')[0]}"


def governor() -> str:
    """Frequency governor of the first core."""
    return "".join(lines(_GOVERNOR)).strip() or UNKNOWN


def load_average() -> float | None:
    """Runnable processes, averaged over the last minute."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return None


def steal_fraction() -> float | None:
    """Share of processor time that the hypervisor gave to others since boot; ``None`` if unknown."""
    fields = lines(Path("/proc/stat"))[:1]
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
    """This machine's fingerprint, with a runtime's facts about itself."""
    return Fingerprint(
        cpu=cpu_model(),
        cpu_features=tuple(cpu_features()),
        cores=os.cpu_count() or 1,
        machine=platform.machine(),
        os=system(),
        threads=threads,
        pinned=pinned,
        provider=provider,
        provider_options=dict(provider_options),
        runtime=runtime,
        runtime_version=runtime_version,
        build=build,
        precision=precision,
        governor=governor(),
        core_kind=kind(cores()),
    )


def fingerprint(
    *, threads: int, provider: str, provider_options: Mapping[str, str], precision: str, pinned: bool
) -> Fingerprint:
    """This machine's fingerprint with the provider's runtime; raises :class:`ProviderError` without that."""
    from deploy_nas.device.runtimes import runtime_of  # imports this module

    return runtime_of(provider).fingerprint(
        threads=threads,
        provider=provider,
        provider_options=provider_options,
        precision=precision,
        pinned=pinned,
    )


def fingerprint_like(on: Fingerprint, *, threads: int | None = None) -> Fingerprint:
    """This machine's fingerprint with the run settings of ``on``, or with another number of threads."""
    return fingerprint(
        threads=threads or on.threads,
        provider=on.provider,
        provider_options=on.provider_options,
        precision=on.precision,
        pinned=True,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinning:
    """Where threads run, and what times them.

    Args:
        pinned: whether this thread is pinned to one core.
        cores: the threads' cores, that of this thread last; empty if it is not pinned.
        quota_cores: processor time that cgroups allow this process, in cores; ``None``: no quota.
        clock_ms: steps of the clock that times the runs; ``None``: too fine to matter.
        emulator: that the runs happen in; ``None``: none.
    """

    pinned: bool
    cores: tuple[int, ...] = ()
    quota_cores: float | None = None
    clock_ms: float | None = None
    emulator: str | None = None

    def conditions(self, threads: int) -> Conditions:
        """The conditions of a measurement with so many threads, as far as they are known before it."""
        return Conditions(
            threads=threads,
            cores=self.cores,
            quota_cores=self.quota_cores,
            clock_ms=self.clock_ms,
            emulator=self.emulator,
        )

    @property
    def worker_cores(self) -> tuple[int, ...]:
        """The cores for a session's other threads."""
        return self.cores[:-1]


@contextlib.contextmanager
def pinned_to(threads: int) -> Iterator[Pinning]:
    """Pin this thread to the fastest and quietest core; ``threads - 1`` other threads get the next ones.

    Otherwise the threads of a small network sometimes share one core and take twice the time. Raises
    :class:`OptionError` for more threads than cores, which would all run on this one.
    """
    if not 1 <= threads <= len(cores()):
        raise OptionError(
            f"must be from 1 to the {len(cores())} cores of this device, is {threads}", subject="threads"
        )
    quota, by = quota_cores(), emulator()
    if not hasattr(os, "sched_setaffinity"):
        yield Pinning(pinned=False, quota_cores=quota, emulator=by)
        return
    before = os.sched_getaffinity(0)
    busy = loads() if len(before) > threads else {}
    chosen = choose(threads, sorted(before), speeds(), busy, hardware_threads() if threads > 1 else None)
    try:
        os.sched_setaffinity(0, {chosen[-1]})
    except OSError:
        yield Pinning(pinned=False, quota_cores=quota, emulator=by)
        return
    try:
        yield Pinning(pinned=True, cores=chosen, quota_cores=quota, emulator=by)
    finally:
        os.sched_setaffinity(0, before)
